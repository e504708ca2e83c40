"""The start of a codec of magnitudes, on harmonic audio."""

import jax
import jax.numpy as jnp
import magnitude_helpers
import numpy as np
import pytest

from jaxcodec.build.codec import make_codec
from jaxcodec.tasks.magnitude_start import start, start_decoder

AUDIO = magnitude_helpers.voices(6, 40)
HELD_OUT = magnitude_helpers.voices(2, 40, seed=1)


@pytest.fixture(scope="module")
def both():
  """The codec, its fresh variables and the started ones."""
  codec, fresh = magnitude_helpers.fresh()
  started = start(codec, fresh, jax.random.key(1), AUDIO, batch_frames=60)
  return codec, fresh, started


def _coded(codec, variables, audio_BxN):
  """Returns the compressed magnitudes of audio, those of its codes, and the codes."""

  def run(codec, x):
    quantized = codec.quantizer(codec.encoder(x))
    return codec.decoder.compressed(quantized.z_BxTxD), quantized.codes_BxTxK

  features = codec.encoder.features
  target = features.compress(features.magnitudes(audio_BxN))
  found, codes = jax.jit(lambda x: codec.apply(variables, x, method=run))(
    audio_BxN[..., None]
  )
  return target, found, codes


def _r_squared(target, found):
  return 1 - np.mean((target - found) ** 2) / np.var(target)


def test_it_explains_magnitudes_also_of_held_out_audio(both):
  codec, fresh, started = both
  for audio, least in ((AUDIO, 0.8), (HELD_OUT, 0.6)):
    before, after = (
      _r_squared(*_coded(codec, variables, audio)[:2]) for variables in (fresh, started)
    )
    assert before < 0 and after > least


def test_all_codes_are_used_and_counted(both):
  codec, _, started = both
  codes = np.asarray(_coded(codec, started, AUDIO)[2])
  for k in range(2):
    count = np.bincount(codes[..., k].ravel(), minlength=8)
    assert (count > 0).all()
    book = started["vq_stats"]["quantizer"][f"layers_{k}"]
    np.testing.assert_allclose(book["cluster_size"], count * 60 / count.sum())
    means = book["embed_avg"] / book["cluster_size"][:, None]
    np.testing.assert_allclose(means, book["embed"], rtol=1e-5, atol=1e-7)
    assert book["inited"] == 1


def test_the_linear_map_is_least_squares(both):
  """It is numpy's solution, with rows for the ridge, in float64."""
  codec, _, started = both
  target, found, codes = _coded(codec, started, AUDIO)
  decode = codec.apply(started, codes, method=lambda m, c: m.quantizer.decode(c))
  padded = np.pad(decode, ((0, 0), (1, 1), (0, 0)))
  x = np.concatenate([padded[:, i : i + 40] for i in range(3)], -1).reshape(240, -1)
  x = x.astype(np.float64)
  y = np.asarray(target, np.float64).reshape(240, -1)
  bias = y.mean(0)
  ridge = np.sqrt(5e-5 * len(x)) * np.eye(x.shape[1])
  rows = np.concatenate([x, ridge]), np.pad(y - bias, ((0, x.shape[1]), (0, 0)))
  best = x @ np.linalg.lstsq(*rows)[0] + bias
  np.testing.assert_allclose(found.reshape(240, -1), best, atol=1e-3)


def test_the_same_key_gives_the_same_and_shapes_stay(both):
  codec, fresh, started = both
  again = start(codec, fresh, jax.random.key(1), AUDIO, batch_frames=60)
  jax.tree.map(np.testing.assert_array_equal, again, started)
  other = start(codec, fresh, jax.random.key(2), AUDIO, batch_frames=60)
  embeds = [v["vq_stats"]["quantizer"]["layers_0"]["embed"] for v in (started, other)]
  assert not np.array_equal(*embeds)
  shapes, ours = (
    jax.tree.map(lambda x: (x.shape, x.dtype), v) for v in (fresh, started)
  )
  assert ours == shapes


def test_the_first_codebook_can_follow_the_envelope():
  """Frames of one code have near envelopes; a code is the mean of their latents."""
  codec, fresh = magnitude_helpers.fresh(first_dim=3)
  started = start(
    codec, fresh, jax.random.key(1), AUDIO, batch_frames=60, iterations=60
  )
  codes_T = np.asarray(_coded(codec, started, AUDIO)[2])[..., 0].ravel()
  book = started["vq_stats"]["quantizer"]["layers_0"]
  encode = jax.jit(lambda x: codec.apply(started, x, method=lambda c, x: c.encoder(x)))
  z_TxD = np.asarray(encode(AUDIO[..., None])).reshape(len(codes_T), -1)
  seen_TxS = z_TxD @ np.asarray(book["projection"])
  assert book["projection"].shape == (z_TxD.shape[1], 3)
  within = 0
  for code in np.unique(codes_T):
    mine = codes_T == code
    within += np.square(seen_TxS[mine] - seen_TxS[mine].mean(0)).sum()
    np.testing.assert_allclose(book["embed"][code], z_TxD[mine].mean(0), atol=1e-4)
  assert within < 0.2 * np.square(seen_TxS - seen_TxS.mean(0)).sum()


def test_a_decoder_can_start_on_the_tokens_of_another(both):
  """It is the one that a start on these tokens has."""
  codec, fresh, started = both
  params = {**started["params"], "decoder": fresh["params"]["decoder"]}
  found = start_decoder(codec, {**started, "params": params}, AUDIO)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4),
    found["params"]["decoder"]["linear"],
    started["params"]["decoder"]["linear"],
  )
  jax.tree.map(np.testing.assert_array_equal, found["vq_stats"], started["vq_stats"])


@pytest.mark.parametrize(
  "fields",
  [
    dict(name="factorized_rvq", codebook_dim=4),
    dict(name="simvq"),
    dict(name="fsq", levels=(4, 4), codebook_size=None),
  ],
)
def test_other_quantisers_start_fitted_too(fields):
  codec, fresh = magnitude_helpers.fresh(**fields)
  started = start(codec, fresh, jax.random.key(1), AUDIO, batch_frames=60)
  for audio, least in ((AUDIO, 0.7), (HELD_OUT, 0.4)):
    before, after = (
      _r_squared(*_coded(codec, variables, audio)[:2]) for variables in (fresh, started)
    )
    assert before < 0 and after > least


@pytest.mark.parametrize(
  "changes,audio,match",
  [
    ({}, AUDIO[:, :-1], "whole hops of 32"),
    ({}, AUDIO[:1, : 7 * 32], "8 codes need as many frames or more, got 7"),
    (dict(decoder=dict(power=0.5)), AUDIO, "must have one power, got 0.3 and 0.5"),
    (
      dict(encoder=dict(name="dac", width=2, strides=(4, 8), latent_dim=4)),
      AUDIO,
      "must have MagnitudeEncoder",
    ),
  ],
)
def test_what_cannot_be_is_an_error(changes, audio, match):
  config = magnitude_helpers.config()
  for name, fields in changes.items():
    config[name] = fields if "name" in fields else {**config[name], **fields}
  codec = make_codec({"codec": config})
  with pytest.raises(ValueError, match=match):
    start(codec, {}, jax.random.key(0), jnp.asarray(audio), batch_frames=60)
