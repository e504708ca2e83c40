"""AR + NAR models learn to read: what they say depends on the right symbol in time."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxcodec.inference import slm
from jaxcodec.slm.valle import Valle
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import TokenSpec

SYMBOLS, ROWS, FRAMES, TEXT, STEPS = 8, 16, 48, 10, 200
SPEC = TokenSpec(num_codebooks=2, codebook_size=SYMBOLS, hop=320, sample_rate=16_000)


def _row(rng):
  """Makes random symbols that last 2 to 6 frames, and codes that tell half of each.

  Returns:
    The text, the codes, and the index in the text of each frame's symbol.
  """
  symbol_S = rng.integers(0, SYMBOLS, rng.integers(5, TEXT - 1))
  text_S = np.array([1, *(3 + symbol_S), 2])
  at_T = np.arange(len(symbol_S)).repeat(rng.integers(2, 7, len(symbol_S)))
  symbol_T = symbol_S[at_T]
  return text_S, np.stack([symbol_T // 2, symbol_T % 2], axis=-1), at_T + 1


def _batch(seed):
  rng = np.random.default_rng(seed)
  batch = {
    "codes_BxTxK": np.zeros((ROWS, FRAMES, 2), np.int32),
    "mask_BxT": np.zeros((ROWS, FRAMES), bool),
    "text_BxS": np.zeros((ROWS, TEXT), np.int32),
    "text_mask_BxS": np.zeros((ROWS, TEXT), bool),
    "index_B": np.arange(ROWS, dtype=np.int32),
  }
  for row in range(ROWS):
    text_S, codes_TxK, _ = _row(rng)
    batch["codes_BxTxK"][row, : len(codes_TxK)] = codes_TxK
    batch["mask_BxT"][row, : len(codes_TxK)] = True
    batch["text_BxS"][row, : len(text_S)] = text_S
    batch["text_mask_BxS"][row, : len(text_S)] = True
  return batch


@pytest.fixture(scope="module")
def trained():
  """Trains; returns the model, its parameters and its measures of other sentences."""
  model = Valle(
    SPEC, 3 + SYMBOLS, width=32, depth=2, heads=2, dropout=0.0, positions="aligned"
  )
  task = SlmTask(model, steps=STEPS, learning_rate=1e-2, warmup_steps=20, ema_decay=0)
  batches = jax.tree.map(lambda *x: np.stack(x), *map(_batch, range(1, STEPS + 1)))

  @jax.jit
  def train(batches, others):
    start = task.init(jax.random.key(0), jax.tree.map(lambda x: x[0], batches))
    state, _ = jax.lax.scan(task.train_step, start, batches)
    return state.params, task.eval_step(state, others)

  return model, *jax.device_get(train(batches, _batch(0)))


def test_both_halves_read(trained):
  """Texts are random, so only reading makes the right one better than another."""
  *_, found = trained
  ce_K, gain_K = found["ce_per_codebook"], found["gain_per_codebook"]
  # Half a symbol each: without the text the second codebook costs about ln 2.
  assert gain_K[0] > 0.4 and gain_K[1] > 1
  assert ce_K[0] < 0.5 and ce_K[1] < 0.3


def test_attention_shows_which_symbol_a_frame_is_spoken_from(trained):
  model, params, _ = trained
  text_S, codes_TxK, at_T = _row(np.random.default_rng(99))
  pace = SPEC.frame_rate * (len(text_S) - 2) / len(codes_TxK)
  model = dataclasses.replace(model, symbols_per_second=pace)
  job = slm.SpeakJob(text_S, None, 0)
  weight_TxS, focus = slm.align(model, params, job, codes_TxK)
  assert abs(weight_TxS.argmax(1) - at_T).max() <= 1
  assert 0.4 < focus <= 1
