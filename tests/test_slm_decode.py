"""Iterative decoding: schedule, prompts, independent rows, recall of training codes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.slm import decode, sampling
from jaxcodec.slm.decode import IterativeSampler
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import Tokens, TokenSpec

SPEC = TokenSpec(num_codebooks=3, codebook_size=11, hop=320, sample_rate=16_000)
MODEL = MaskGit(SPEC, num_semantic=5, width=16, depth=1, heads=2, dropout=0.0)
GREEDY = IterativeSampler(steps=(4, 2), temperature=0.0, choice_noise=0.0)
NOISY = IterativeSampler(steps=(4, 2), temperature=1.0, choice_noise=3.0, top_k=7)


def _inputs(lengths, frames, seed=0):
  rng = np.random.default_rng(seed)
  semantic = jnp.asarray(rng.integers(0, 5, (len(lengths), frames)), jnp.int32)
  return semantic, jnp.arange(frames)[None] < jnp.asarray(lengths)[:, None]


def _prompt(lengths, frames):
  codes = np.random.default_rng(9).integers(0, 11, (len(lengths), frames, 3))
  mask = jnp.arange(frames)[None] < jnp.asarray(lengths)[:, None]
  return Tokens(jnp.asarray(codes, jnp.int32), mask)


@pytest.fixture(scope="module")
def params():
  semantic, mask = _inputs([4], 4)
  codes = jnp.zeros((1, 4, 3), jnp.int32)
  batch = {"codes_BxTxK": codes, "semantic_BxT": semantic, "mask_BxT": mask}
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(MODEL.init_params, jax.random.key(0), batch)
  draw = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)  # noqa: E731
  return jax.tree.map(draw, shapes)


def test_schedule_is_the_cosine_then_one_step_each():
  plan = decode.schedule(IterativeSampler(), 8)
  np.testing.assert_array_equal(plan["level"], [0] * 16 + list(range(1, 8)))
  want = np.cos(np.pi / 2 * np.arange(1, 16) / 16)
  np.testing.assert_allclose(plan["masked"][:15], want, rtol=1e-6)
  assert not plan["masked"][15:].any()
  np.testing.assert_array_equal(plan["drawn"], [1] * 16 + [0] * 7)
  assert plan["left"][15] == 0 and plan["left"][0] == pytest.approx(15 / 16)
  with pytest.raises(ValueError, match="steps has 2 entries for 1 codebooks"):
    decode.schedule(GREEDY, 1)


@pytest.mark.parametrize(
  "wrong, name",
  [
    ({"steps": (0,)}, "steps"),
    ({"temperature": -1}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"choice_noise": -0.1}, "choice_noise"),
  ],
)
def test_impossible_samplers_are_named(wrong, name):
  with pytest.raises(ValueError, match=f"sampler.{name} must be"):
    IterativeSampler(**wrong)


@pytest.mark.parametrize("sampler", [GREEDY, NOISY])
def test_all_frames_get_codes_and_the_prompt_stays(params, sampler):
  semantic, mask = _inputs([9, 6], 9)
  prompt = _prompt([3, 0], 3)
  got = MODEL.generate(
    params, jax.random.key(0), semantic, mask, prompt=prompt, sampler=sampler
  )
  codes = np.asarray(got.codes_BxTxK)
  assert codes.shape == (2, 9, 3) and codes.dtype == np.int32
  assert codes.min() >= 0 and codes.max() < 11 and not codes[1, 6:].any()
  np.testing.assert_array_equal(codes[0, :3], prompt.codes_BxTxK[0])
  assert (codes[1, :3] != prompt.codes_BxTxK[1]).any()
  np.testing.assert_array_equal(got.mask_BxT, mask)


def test_each_step_unmasks_what_the_schedule_says(params):
  """Records the inputs of a stand-in model whose logits make every choice distinct."""
  semantic, mask = _inputs([20, 13], 20)
  seen = []

  class Watched:
    spec, no_semantic = SPEC, 5

    def apply(self, variables, codes, semantic, mask, level_B):
      jax.debug.callback(
        lambda c, level: seen.append((int(level[0]), np.array(c))), codes, level_B
      )
      return jax.random.normal(jax.random.key(0), codes.shape[:2] + (11,))

  sampler = IterativeSampler(steps=(5, 3))
  got = decode.iterative(
    Watched(), {}, jax.random.key(0), semantic, mask, sampler=sampler
  )
  jax.block_until_ready(got)
  jax.effects_barrier()
  assert [level for level, _ in seen] == [0] * 5 + [1] * 3 + [2]
  steps = {0: 5, 1: 3, 2: 1}
  done = {0: 0, 1: 0, 2: 0}
  for i, (level, codes) in enumerate(seen):
    left = np.cos(np.pi / 2 * done[level] / steps[level])
    for row, size in enumerate((20, 13)):
      hidden = codes[row, :size] == SPEC.mask_id
      assert hidden[:, level].sum() == int(np.floor(np.float32(left) * size))
      assert not hidden[:, :level].any() and hidden[:, level + 1 :].all()
    if done[level]:
      before = seen[i - 1][1]
      kept = before[:, :, level] != SPEC.mask_id
      np.testing.assert_array_equal(codes[kept, level], before[kept, level])
    done[level] += 1


def test_a_padded_batch_gives_each_row_what_it_gets_alone(params):
  lengths, prompts = [12, 7, 9], [4, 2, 0]
  semantic, mask = _inputs(lengths, 12)
  prompt = _prompt(prompts, 4)
  rng = jax.random.key(5)
  run = functools.partial(MODEL.generate, params, sampler=NOISY)
  together = run(rng, semantic, mask, prompt=prompt).codes_BxTxK
  keys = sampling.row_keys(rng, 3)
  for row, size in enumerate(lengths):
    one = slice(row, row + 1)
    own = Tokens(
      prompt.codes_BxTxK[one, : max(prompts[row], 1)],
      prompt.mask_BxT[one, : max(prompts[row], 1)],
    )
    alone = run(keys[one], semantic[one, :size], mask[one, :size], prompt=own)
    np.testing.assert_array_equal(together[row, :size], alone.codes_BxTxK[0])


def test_noise_comes_from_the_key(params):
  semantic, mask = _inputs([12, 12], 12)
  run = functools.partial(MODEL.generate, params, sampler=NOISY)
  first, again, other = (
    run(jax.random.key(seed), semantic, mask).codes_BxTxK for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_guidance_is_the_sum_of_pushes_away_from_each_lack(params):
  semantic, mask = _inputs([8, 6], 8)
  codes = _prompt([8, 8], 8).codes_BxTxK
  prompt = jnp.arange(8)[None] < jnp.array([3, 2])[:, None]
  sampler = IterativeSampler(guidance_condition=0.5, guidance_prompt=2.0)
  level = jnp.array(1)
  guided = jax.jit(decode._guided_logits, static_argnums=(0, 1))
  got = guided(MODEL, sampler, params, (codes, semantic, mask, prompt), level)

  apply = jax.jit(MODEL.apply)

  def score(semantic, mask):
    levels = jnp.array([1, 1])
    return apply({"params": params}, codes, semantic, mask, levels)

  given = score(semantic, mask)
  want = given + 0.5 * (given - score(jnp.full_like(semantic, 5), mask))
  want = want + 2.0 * (given - score(semantic, mask & ~prompt))
  open_frames = mask & ~prompt
  np.testing.assert_allclose(got[open_frames], want[open_frames], atol=1e-4)


def test_a_prompt_that_does_not_fit_is_named(params):
  semantic, mask = _inputs([4], 4)
  run = functools.partial(MODEL.generate, params, jax.random.key(0), semantic, mask)
  with pytest.raises(ValueError, match=r"at most 4, 3\), got \(1, 5, 3\)"):
    run(prompt=_prompt([5], 5))
  narrow = _prompt([2], 2)
  narrow = narrow.replace(codes_BxTxK=narrow.codes_BxTxK[:, :, :2])
  with pytest.raises(ValueError, match=r"got \(1, 2, 2\)"):
    run(prompt=narrow)


def test_an_overfitted_model_returns_its_training_codes_in_16_steps():
  """The codes and semantic tokens are random, so only memory can produce them."""
  rng = np.random.default_rng(0)
  spec = TokenSpec(num_codebooks=2, codebook_size=16, hop=320, sample_rate=16_000)
  model = MaskGit(spec, 8, width=48, depth=2, heads=2, dropout=0.0, condition_drop=0.0)
  task = SlmTask(model, steps=500, learning_rate=4e-3, warmup_steps=30, ema_decay=0.98)
  lengths = jnp.array([20, 16, 18, 20])
  batch = {
    "codes_BxTxK": jnp.asarray(rng.integers(0, 16, (4, 20, 2)), jnp.int32),
    "semantic_BxT": jnp.asarray(rng.integers(0, 8, (4, 20)), jnp.int32),
    "mask_BxT": jnp.arange(20)[None] < lengths[:, None],
    "index_B": jnp.arange(4),
  }
  state = jax.jit(task.init)(jax.random.key(0), batch)

  @jax.jit
  def train(state):
    step = lambda state, _: (task.train_step(state, batch)[0], None)  # noqa: E731
    return jax.lax.scan(step, state, None, 500)[0]

  params = task.inference_variables(train(state))["params"]
  got = model.generate(
    params,
    jax.random.key(1),
    batch["semantic_BxT"],
    batch["mask_BxT"],
    sampler=IterativeSampler(steps=(16,), temperature=0.0, choice_noise=0.0),
  )
  right = (got.codes_BxTxK == batch["codes_BxTxK"])[batch["mask_BxT"]]
  assert right.mean() >= 0.95
