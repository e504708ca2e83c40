"""Jobs of many lengths: each gets its own result, with few compiled shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.inference import slm
from jaxcodec.slm.autoregressive import Generated
from jaxcodec.types import Tokens, TokenSpec

SPEC = TokenSpec(num_codebooks=2, codebook_size=9, hop=320, sample_rate=16_000)
# (symbols or semantic tokens, frames of the prompt); the third has no prompt.
LENGTHS = [(80, 70), (5, 3), (12, 0), (6, 4), (2, 1), (7, 2), (70, 4)]


class Echo:
  """Stands in for the models: a row's codes are its inputs, one a codebook.

  The first is what is to be said without the prompt's frames, the second counts what
  else the row was given: the seed, the prompt's codes, the sampler.
  """

  spec = SPEC

  def __init__(self, ends):
    self.shapes, self._ends = set(), ends

  def generate(
    self, params, rng, said_BxS, mask_BxS, *, prompt, sampler, prompt_symbols_B=None
  ):
    prompt_BxTxK = np.zeros((len(rng), 0, 2)) if prompt is None else prompt.codes_BxTxK
    self.shapes.add((said_BxS.shape, prompt_BxTxK.shape))
    assert not said_BxS[~mask_BxS].any()
    if prompt is not None:
      assert not prompt_BxTxK[~prompt.mask_BxT].any()
    given_B = jax.random.key_data(rng)[:, 1] + prompt_BxTxK.sum((1, 2)) + sampler
    given_BxS = np.broadcast_to(given_B[:, None], said_BxS.shape)
    tokens = Tokens(np.stack([params * said_BxS, given_BxS], -1), mask_BxS)
    if not self._ends:
      return tokens
    length_B = mask_BxS.sum(1)
    return Generated(tokens, jnp.asarray(length_B % 2 == 0), length_B)


def _jobs(kind):
  rng = np.random.default_rng(0)
  return [
    kind(rng.integers(1, 9, n), rng.integers(0, 9, (t, 2)) if t else None, seed)
    for seed, (n, t) in enumerate(LENGTHS)
  ]


def _given(job):
  return job.seed + 100 + (0 if job.prompt_TxK is None else job.prompt_TxK.sum())


def test_every_text_gets_its_own_answer_and_end():
  jobs, model = _jobs(slm.SpeakJob), Echo(ends=True)
  found = list(slm.speak(model, 2, jobs, 100, 2))
  assert sorted(index for index, *_ in found) == list(range(len(jobs)))
  for index, codes_TxK, ended in found:
    np.testing.assert_array_equal(codes_TxK[:, 0], 2 * jobs[index].text_S)
    np.testing.assert_array_equal(codes_TxK[:, 1], _given(jobs[index]))
    assert ended is (len(jobs[index].text_S) % 2 == 0)
  assert model.shapes == {
    ((2, symbols), (2, frames, 2))
    for symbols, frames in [(64, 0), (64, 64), (128, 64), (128, 128)]
  }


def test_every_content_gets_its_own_answer():
  jobs, model = _jobs(slm.FillJob), Echo(ends=False)
  found = dict(slm.fill(model, 2, jobs, 100, 2))
  assert sorted(found) == list(range(len(jobs)))
  for index, codes_TxK in found.items():
    past = LENGTHS[index][1]
    np.testing.assert_array_equal(codes_TxK[:, 0], 2 * jobs[index].semantic_T[past:])
    np.testing.assert_array_equal(codes_TxK[:, 1], _given(jobs[index]))
  assert model.shapes == {((2, n), (2, n, 2)) for n in (64, 128)}


@pytest.mark.parametrize("run", [slm.speak, slm.fill])
def test_few_jobs_make_small_batches_and_none_make_nothing(run):
  kind, ends = (slm.SpeakJob, True) if run is slm.speak else (slm.FillJob, False)
  model = Echo(ends)
  assert not list(run(model, 1, [], 0, 8)) and not model.shapes
  assert len(list(run(model, 1, _jobs(kind)[3:6], 0, 8))) == 3
  assert {said[0] for said, _ in model.shapes} == {4}
