"""Generation by VALL-E against recomputation; independent rows, ends, recall."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.slm import ar_choice, ar_frames, incremental, nar, sampling
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.positions import own_pace, prompt_pace
from jaxcodec.slm.valle import Valle
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import Tokens, TokenSpec

SPEC = TokenSpec(num_codebooks=3, codebook_size=11, hop=320, sample_rate=16_000)
MODEL = Valle(SPEC, num_text=7, width=16, depth=2, heads=2, dropout=0.0)
END = SPEC.codebook_size
GREEDY = ArSampler(max_frames=16, temperature=0.0)
NOISY = ArSampler(
  max_frames=16,
  min_frames=3,
  top_k=9,
  top_p=0.95,
  repetition_penalty=1.2,
  repetition_limit=0.3,
  repetition_window=4,
  nar_temperature=0.7,
)


def _ragged(lengths):
  return jnp.arange(max(lengths))[None] < jnp.asarray(lengths)[:, None]


def _text(lengths, seed=0):
  mask = _ragged(lengths)
  text = np.random.default_rng(seed).integers(0, 7, mask.shape)
  return jnp.asarray(text, jnp.int32), mask


def _prompt(lengths):
  mask = _ragged(lengths)
  codes = np.random.default_rng(9).integers(0, 11, (*mask.shape, 3))
  return Tokens(jnp.asarray(codes, jnp.int32), mask)


@pytest.fixture(scope="module")
def params():
  text, text_mask = _text([4])
  batch = {"codes_BxTxK": jnp.zeros((1, 4, 3), jnp.int32), "mask_BxT": text_mask}
  batch |= {"text_BxS": text, "text_mask_BxS": text_mask}
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(MODEL.init_params, jax.random.key(0), batch)
  draw = lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype)  # noqa: E731
  return jax.tree.map(draw, shapes)


def _applied(model, half, params, *inputs):
  return getattr(model, half).apply({"params": params[half]}, *inputs)


APPLY = jax.jit(_applied, static_argnums=(0, 1))


def _recomputed(model, params, text, prompt_TxK, symbols):
  """Decodes an item greedily without a cache; returns its codes and if it ended."""
  prompt = jnp.array([symbols]), jnp.array([len(prompt_TxK)])
  pace = prompt_pace(*prompt, model.symbols_per_frame)
  room, past = GREEDY.max_frames, len(prompt_TxK)
  text, text_mask = text[None], jnp.ones((1, len(text)), bool)
  at = jnp.arange(past + room)[None]
  codes = np.full((1, past + room, 3), END, np.int32)
  codes[0, :past] = prompt_TxK
  size = past
  while size < past + room:
    frames = codes[:, :, 0], at < size
    logits = APPLY(model, "ar", params, text, text_mask, *frames, pace)
    token = int(logits[0, size].argmax())
    if token == END:
      break
    codes[0, size, 0] = token
    size += 1
  for level in (1, 2):
    frames = codes, at < size, jnp.array([level])
    pace = own_pace(text_mask, at < size, *prompt)
    logits = APPLY(model, "nar", params, text, text_mask, *frames, pace)
    codes[0, past:, level] = logits[0, past:].argmax(-1)
  return codes[0, past:size], size < past + room


@pytest.mark.parametrize("positions", ["sequence", "separate", "aligned"])
def test_a_padded_batch_gives_each_item_what_recomputing_it_alone_gives(
  params, positions
):
  model = dataclasses.replace(MODEL, positions=positions)
  texts, prompts, symbols = [5, 2, 5], [3, 0, 3], [2, 0, 1]
  (text, mask), prompt = _text(texts), _prompt(prompts)
  got = model.generate(
    params,
    jax.random.key(0),
    text,
    mask,
    prompt=prompt,
    prompt_symbols_B=jnp.array(symbols),
    sampler=GREEDY,
  )
  codes = np.asarray(got.tokens.codes_BxTxK)
  assert codes.dtype == np.int32 and codes.min() >= 0 and codes.max() < END
  for row in range(3):
    own = prompt.codes_BxTxK[row, : prompts[row]]
    alone = text[row, : texts[row]], own, symbols[row]
    want, ended = _recomputed(model, params, *alone)
    assert got.length_B[row] == len(want) == got.tokens.mask_BxT[row].sum()
    assert got.ended_B[row] == ended
    np.testing.assert_array_equal(codes[row, : len(want)], want)
    assert not codes[row, len(want) :].any()
  assert 0 < got.ended_B.sum() < 3, "some end, some do not"


def test_a_drawn_row_is_the_same_alone(params):
  (text, mask), prompt = _text([5, 3]), _prompt([3, 2])
  run = functools.partial(MODEL.generate, params, sampler=NOISY)
  together = run(jax.random.key(5), text, mask, prompt=prompt)
  key = sampling.row_keys(jax.random.key(5), 2)[1:]
  own = Tokens(prompt.codes_BxTxK[1:, :2], prompt.mask_BxT[1:, :2])
  alone = run(key, text[1:, :3], mask[1:, :3], prompt=own)
  size = int(alone.length_B[0])
  assert together.length_B[1] == size > 2
  np.testing.assert_array_equal(
    together.tokens.codes_BxTxK[1, :size], alone.tokens.codes_BxTxK[0, :size]
  )
  other = run(jax.random.key(6), text, mask, prompt=prompt)
  first = np.asarray(together.tokens.codes_BxTxK[:, :2])
  assert (first != other.tokens.codes_BxTxK[:, :2]).any()


def test_a_cache_that_grows_gives_the_same(params, monkeypatch):
  (text, mask), prompt = _text([5, 3]), _prompt([3, 2])
  sampler = dataclasses.replace(NOISY, min_frames=9)

  def speak():
    key = jax.random.key(5)
    return MODEL.generate(params, key, text, mask, prompt=prompt, sampler=sampler)

  whole = speak()
  sizes = lambda frames: [3, 8, 9, frames]  # noqa: E731
  monkeypatch.setattr(incremental.ops, "cache_sizes", sizes)
  ar_frames.speak.clear_cache()
  grown = speak()
  ar_frames.speak.clear_cache()
  jax.tree.map(np.testing.assert_array_equal, grown, whole)
  assert whole.length_B.max() > 9


def test_ends_at_once_late_and_never_are_reported(params):
  """With layers that do nothing, a frame's embedding decides whether it is the last."""
  zeros = jax.tree.map(jnp.zeros_like, params)
  ar = zeros["ar"]
  ar["transformer"]["last_norm"]["gain"] += 1
  ar["code_embed"]["embedding"] += jnp.where(jnp.arange(12) == 5, -1.0, 1.0)[:, None]
  never, ending = zeros, zeros | {"ar": ar | {"head": ar["head"].at[:, END].set(1.0)}}
  # Shapes of the test above, so that they are compiled once.
  text, _ = _text([5, 5, 5])
  mask = jnp.arange(5)[None] < jnp.array([[2], [1], [0]])
  prompt = Tokens(
    jnp.full((3, 3, 3), 5), jnp.arange(3)[None] < jnp.array([[0], [1], [1]])
  )
  for weights, sampler, lengths, ended in (
    (ending, GREEDY, [0, 1, 0], [1, 1, 1]),
    (never, GREEDY, [16, 16, 0], [0, 0, 1]),
    (ending, ArSampler(16, 2, temperature=0.0), [2, 2, 0], [1, 1, 1]),
  ):
    got = MODEL.generate(
      weights, jax.random.key(0), text, mask, prompt=prompt, sampler=sampler
    )
    np.testing.assert_array_equal(got.length_B, lengths)
    np.testing.assert_array_equal(got.ended_B, np.array(ended, bool))
    np.testing.assert_array_equal(got.tokens.mask_BxT.sum(1), lengths)


def test_repeated_tokens_are_weakened_or_drawn_again():
  logits = jnp.array([[2.0, 1.9, -9.0, -9.0]] * 64)
  recent = jnp.array([[-1, -1, 0, 0]] * 64)
  keys = sampling.row_keys(jax.random.key(0), 64)

  def tokens(**options):
    sampler = ArSampler(repetition_window=4, **options)
    choose = jax.jit(ar_choice.choose, static_argnums=4)
    return np.asarray(choose(logits, recent, keys, 0, sampler))

  assert (tokens(temperature=0.0) == 0).all()
  assert (tokens(temperature=0.0, repetition_penalty=1.1) == 1).all()
  # Half of the window is token 0: above a limit of 0.4, not of 0.5.
  assert (tokens(top_k=1, repetition_limit=0.5) == 0).all()
  assert 10 < (tokens(top_k=1, repetition_limit=0.4) == 1).sum() < 50


@pytest.mark.parametrize(
  "wrong, name",
  [
    ({"max_frames": 0}, "max_frames"),
    ({"max_frames": 5, "min_frames": 6}, "min_frames"),
    ({"temperature": -1}, "temperature"),
    ({"top_k": -2}, "top_k"),
    ({"top_p": 0}, "top_p"),
    ({"repetition_penalty": 0.5}, "repetition_penalty"),
    ({"repetition_limit": 0}, "repetition_limit"),
    ({"repetition_limit": 0.1, "temperature": 0}, "repetition_limit"),
    ({"repetition_window": 0}, "repetition_window"),
    ({"nar_temperature": -1}, "nar_temperature"),
    ({"nar_choice": "best"}, "nar_choice"),
    ({"nar_choice": "mean"}, "nar_temperature"),
  ],
)
def test_impossible_samplers_are_named(wrong, name):
  with pytest.raises(ValueError, match=f"sampler.{name} must be"):
    ArSampler(**wrong)


def test_a_prompt_that_does_not_fit_is_named(params):
  aligned = dataclasses.replace(MODEL, positions="aligned")
  text, mask = _text([3])
  with pytest.raises(ValueError, match=r"\(1, any, 3\), got \(2, 2, 3\)"):
    MODEL.generate(params, jax.random.key(0), text, mask, prompt=_prompt([2, 2]))
  with pytest.raises(ValueError, match="prompt_symbols_B is missing"):
    aligned.generate(params, jax.random.key(0), text, mask, prompt=_prompt([2]))


def test_an_overfitted_model_returns_its_training_codes_and_their_lengths():
  """The codes and texts are random, so only memory can produce them."""
  rng = np.random.default_rng(0)
  spec = TokenSpec(num_codebooks=3, codebook_size=16, hop=320, sample_rate=16_000)
  model = Valle(spec, 8, width=32, depth=2, heads=2, dropout=0.0)
  task = SlmTask(model, steps=150, learning_rate=8e-3, warmup_steps=15, ema_decay=0)
  mask, text_mask = _ragged([12, 7, 10]), _ragged([5, 3, 5])
  batch = {
    "codes_BxTxK": jnp.asarray(rng.integers(0, 16, (3, 12, 3)), jnp.int32),
    "mask_BxT": mask,
    "text_BxS": jnp.asarray(rng.integers(0, 8, (3, 5)), jnp.int32),
    "text_mask_BxS": text_mask,
  }

  @jax.jit
  def trained(rng):
    step = lambda state, _: task.train_step(state, batch)  # noqa: E731
    return jax.lax.scan(step, task.init(rng, batch), None, 150)

  state, _ = trained(jax.random.key(0))
  got = model.generate(
    task.inference_variables(state)["params"],
    jax.random.key(1),
    batch["text_BxS"],
    text_mask,
    sampler=ArSampler(max_frames=16, temperature=0.0),
  )
  assert got.ended_B.all()
  np.testing.assert_array_equal(got.length_B, mask.sum(1))
  right = (got.tokens.codes_BxTxK[:, :12] == batch["codes_BxTxK"])[mask]
  assert right.mean() >= 0.99


def test_the_mean_choice_takes_the_middle_of_what_is_likely():
  """Two codes close together outweigh a likelier one that is far from them."""
  table = jnp.asarray([[0.0, 0.0], [1.0, 0.0], [1.1, 0.1], [5.0, 5.0]])
  logits = jnp.log(jnp.asarray([[[0.4, 0.3, 0.29, 0.01]]]))
  key = jax.random.split(jax.random.key(0), 1)
  mean = nar.Draw(1.0, 0, 1.0, "mean")
  assert nar.choose(logits, table, key, mean) == 1
  assert nar.choose(logits, table, key, nar.Draw(0.0, 0, 1.0)) == 0
  assert nar.choose(logits, table, key, nar.Draw(0.01, 0, 1.0, "mean")) == 0
