"""The delay pattern: its layout, its independence of padding, decoding, recall."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.slm import delay_model, positions
from jaxcodec.slm.ar_choice import DelaySampler
from jaxcodec.slm.delay import Delay
from jaxcodec.slm.positions import Pace, prompt_pace
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import Tokens, TokenSpec

SPEC = TokenSpec(num_codebooks=3, codebook_size=11, hop=320, sample_rate=16_000)
MODEL = Delay(SPEC, num_text=7, width=16, depth=2, heads=2, dropout=0.0)
NOTHING = SPEC.codebook_size
GREEDY = DelaySampler(max_frames=12, temperature=0.0)


def _ragged(lengths):
  return jnp.arange(max(lengths))[None] < jnp.asarray(lengths)[:, None]


def _batch(lengths, symbols, seed=0):
  rng, mask, text_mask = np.random.default_rng(seed), _ragged(lengths), _ragged(symbols)
  return {
    "codes_BxTxK": jnp.asarray(rng.integers(0, 11, (*mask.shape, 3)), jnp.int32),
    "mask_BxT": mask,
    "text_BxS": jnp.asarray(rng.integers(0, 7, text_mask.shape), jnp.int32),
    "text_mask_BxS": text_mask,
    "index_B": jnp.arange(len(lengths)),
  }


def random_params(model, batch):
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(model.init_params, jax.random.key(0), batch)
  draw = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)  # noqa: E731
  return jax.tree.map(draw, shapes)


@pytest.fixture(scope="module")
def params():
  return random_params(MODEL, _batch([4], [4]))


def test_the_layout_is_that_of_the_paper():
  codes = jnp.arange(6).reshape(1, 2, 3)
  delayed = delay_model.delay(codes, jnp.ones((1, 2), bool), -1)
  assert delayed[0].tolist() == [[0, -1, -1], [3, 1, -1], [-1, 4, 2], [-1, -1, 5]]
  np.testing.assert_array_equal(delay_model.undo_delay(delayed), codes)
  assert delay_model.delayed_mask(_ragged([1, 0, 2]), 3).tolist() == [
    [True, True, True, False],
    [False] * 4,
    [True] * 4,
  ]


def test_transformers_has_the_same_pattern():
  """MusicGen's in transformers, whose first step stands for the beginning."""
  musicgen = pytest.importorskip("transformers.models.musicgen.modeling_musicgen")
  torch = pytest.importorskip("torch")
  codes = np.random.default_rng(0).integers(0, 11, (1, 6, 3))
  pad, steps = 11, 9
  decoder = type("Decoder", (), {"num_codebooks": 3})()
  decoder.config = type("Config", (), {"audio_channels": 1})()
  given = torch.tensor(np.concatenate([np.full((1, 1, 3), pad), codes], 1))
  given = given.permute(0, 2, 1).reshape(3, 7)
  build = musicgen.MusicgenForCausalLM.build_delay_pattern_mask
  _, pattern = build(decoder, given, pad_token_id=pad, max_length=steps)
  ours = delay_model.delay(jnp.asarray(codes), jnp.ones((1, 6), bool), pad)
  # Their pattern is as long as asked for, ours as long as it must be.
  np.testing.assert_array_equal(pattern.numpy().T[1:], np.asarray(ours[0]))


def test_padding_and_other_rows_change_nothing(params):
  batch = _batch([5, 9], [4, 6])
  alone = {name: array[:1] for name, array in batch.items()}
  for name in ("codes_BxTxK", "mask_BxT"):
    alone[name] = alone[name][:, :5]
  for name in ("text_BxS", "text_mask_BxS"):
    alone[name] = alone[name][:, :4]
  first = {**batch, "mask_BxT": batch["mask_BxT"].at[1].set(False)}
  measure = jax.jit(MODEL.evaluate)
  for name in ("ce_per_codebook", "accuracy_per_codebook"):
    ours, theirs = measure(params, first)[name], measure(params, alone)[name]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def _recomputed(params, text, text_mask, prompt_TxK, pace, guidance=1.0):
  """Decodes a row greedily without a cache; returns its codes and whether it ended."""
  bare = jnp.stack([text[0, 0], text[0, -1]])[None]
  model, codes, ended = MODEL.model, [], False
  steps = np.full((GREEDY.max_frames + 2 + len(prompt_TxK), 3), NOTHING)
  for k in range(3):
    steps[k : k + len(prompt_TxK), k] = prompt_TxK[:, k]

  @jax.jit
  def apply(codes, mask):
    with_text, without = (
      model.apply(
        {"params": params},
        *given,
        codes,
        mask,
        pace,
        method=lambda m, *inputs: m.logits(m(*inputs)),
      )
      for given in ((text, text_mask), (bare, jnp.ones((1, 2), bool)))
    )
    return without + guidance * (with_text - without)

  past, length = len(prompt_TxK), GREEDY.max_frames
  for step in range(GREEDY.max_frames + 2):
    mask = np.arange(len(steps))[None] < past + step
    scores = np.asarray(apply(jnp.asarray(steps)[None], mask))[0, past + step]
    if not ended and step < GREEDY.max_frames and scores[0].argmax() == NOTHING:
      ended, length = True, step
    for k in range(3):
      if 0 <= step - k < length:
        size = NOTHING if k else NOTHING + 1
        steps[past + step, k] = scores[k, :size].argmax()
  codes = [[steps[past + t + k, k] for k in range(3)] for t in range(length)]
  return np.array(codes).reshape(-1, 3), ended


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("with_prompt", [True, False])
def test_decoding_equals_recomputation(params, with_prompt, guidance):
  batch = _batch([4, 2], [6, 5], seed=3)
  prompt = Tokens(batch["codes_BxTxK"], batch["mask_BxT"]) if with_prompt else None
  symbols = jnp.array([2, 1]) if with_prompt else jnp.zeros(2, jnp.int32)
  text = batch["text_BxS"], batch["text_mask_BxS"]
  sampler = dataclasses.replace(GREEDY, guidance=guidance)
  given = dict(prompt=prompt, prompt_symbols_B=symbols, sampler=sampler)
  if guidance != 1:
    with pytest.raises(ValueError, match="guidance must be 1 for a model that hasn't"):
      MODEL.generate(params, jax.random.key(0), *text, **given)
  model = dataclasses.replace(MODEL, text_dropout=0.1)
  spoken = model.generate(params, jax.random.key(0), *text, **given)
  frames = jnp.array([4, 2]) if with_prompt else jnp.zeros(2, jnp.int32)
  pace = prompt_pace(symbols, frames, MODEL.symbols_per_frame)
  for row, size in enumerate((6, 5)):
    given = batch["codes_BxTxK"][row, : int(frames[row])]
    own = Pace(*(value[row : row + 1] for value in pace))
    alone = (x[row : row + 1, :size] for x in text)
    codes, ended = _recomputed(params, *alone, np.asarray(given), own, guidance)
    assert (int(spoken.length_B[row]), bool(spoken.ended_B[row])) == (len(codes), ended)
    ours = spoken.tokens.codes_BxTxK[row, : len(codes)]
    np.testing.assert_array_equal(ours, codes)


def test_training_takes_some_texts_away(params):
  """With a rate next to 1 all rows have the loss of bare texts at the same pace."""
  batch, rng = _batch([5, 9, 7], [4, 6, 5]), jax.random.key(3)
  model = dataclasses.replace(MODEL, position_jitter=0.0)
  without = dataclasses.replace(model, text_dropout=1 - 1e-7)
  pace = positions.own_pace_of(batch)
  ends = jnp.array([3, 5, 4])
  bare = jnp.stack([batch["text_BxS"][:, 0], batch["text_BxS"][jnp.arange(3), ends]], 1)
  expected = {**batch, "text_BxS": bare, "text_mask_BxS": jnp.ones((3, 2), bool)}
  # Without symbols the pace is 0: this one says what it was.
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(positions, "own_pace_of", lambda _: pace)
    wanted, _ = model.loss(params, rng, expected)
  found, _ = without.loss(params, rng, batch)
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  assert abs(float(found - model.loss(params, rng, batch)[0])) > 1e-2
  measured = [m.evaluate(params, batch)["loss"] for m in (model, without)]
  np.testing.assert_array_equal(*measured)


def test_linear_weights_are_of_the_codebooks_above_the_first(params):
  batch, rng = _batch([5, 9], [4, 6]), jax.random.key(3)
  ce_K = dataclasses.replace(MODEL, position_jitter=0.0).evaluate(params, batch)
  ce_K = ce_K["ce_per_codebook"]
  for weights, expected in (
    ("uniform", ce_K[0] + (ce_K[1] + ce_K[2]) / 2),
    ("linear", ce_K[0] + (2 * ce_K[1] + ce_K[2]) / 3),
  ):
    model = dataclasses.replace(MODEL, position_jitter=0.0, level_weights=weights)
    np.testing.assert_allclose(model.loss(params, rng, batch)[0], expected, rtol=1e-5)
  for field in (dict(level_weights="square"), dict(text_dropout=1.0)):
    with pytest.raises(ValueError, match=next(iter(field))):
      dataclasses.replace(MODEL, **field)


def test_a_choice_among_all_codes_at_once_is_refused():
  with pytest.raises(ValueError, match="nar_choice must be 'draw' in the delay"):
    DelaySampler(nar_temperature=1.0, nar_choice="mean")


def test_it_learns_two_utterances_by_heart():
  batch = _batch([6, 8], [4, 5], seed=5)
  task = SlmTask(
    MODEL, steps=250, learning_rate=1e-2, warmup_steps=10, ema_decay=0, weight_decay=0.0
  )
  state, step = task.init(jax.random.key(0), batch), jax.jit(task.train_step)
  for _ in range(250):
    state, metrics = step(state, batch)
  assert metrics["loss"] < 0.3
  spoken = MODEL.generate(
    state.params,
    jax.random.key(1),
    batch["text_BxS"],
    batch["text_mask_BxS"],
    prompt=Tokens(batch["codes_BxTxK"][:, :2], batch["mask_BxT"][:, :2]),
    prompt_symbols_B=jnp.array([1, 1]),
    sampler=GREEDY,
  )
  assert spoken.ended_B.all() and spoken.length_B.tolist() == [4, 6]
  for row, frames in enumerate((6, 8)):
    expected = batch["codes_BxTxK"][row, 2:frames]
    ours = spoken.tokens.codes_BxTxK[row, : frames - 2]
    np.testing.assert_array_equal(ours, expected)
