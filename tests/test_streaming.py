"""Streams have the codes and the audio of the whole."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.api import CodecModel
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.magnitude import MagnitudeDecoder, MagnitudeEncoder
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.segments import Segments
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.inference import codec as inference
from jaxcodec.quantizers.factorized import FactorizedRVQ

D, K, V, RATE = 8, 2, 32, 8000
HALF = dict(width=2, mlp_width=2, depth=1, n_fft=20, hop=20, sub_hop=10)
ZEROS = dict(lstm_layers=1, pad_mode="constant")
AHEAD = dict(lstm_layers=0, causal=False)
# Encoder, decoder, and sizes of blocks in frames: of the first, and of others. What
# is kept does not grow after the first, so that there are few programs.
PARTS = {
  "mirrored": (
    SeanetEncoder(4, (2, 3), latent_dim=D, lstm_layers=1),
    SeanetDecoder(8, (3, 2), lstm_layers=1),
    (8, 1, 3),
  ),
  "zeros, vocos": (
    SeanetEncoder(4, (2, 3), latent_dim=D, **ZEROS),
    VocosDecoder(4, 4, 1, n_fft=12, hop=6),
    (24, 8, 16),
  ),
  "seanet ahead": (
    SeanetEncoder(4, (2, 3), latent_dim=D, **AHEAD),
    SeanetDecoder(8, (3, 2), **AHEAD),
    (24, 8, 16),
  ),
  "dac": (DacEncoder(2, (4,), latent_dim=D), DacDecoder(4, (4,)), (50, 16, 24)),
  "magnitude": (
    MagnitudeEncoder(**HALF),
    MagnitudeDecoder(**HALF, iterations=2),
    (32, 8, 16),
  ),
}


class Silent(nn.Module):
  """An encoder that says nothing about its reach."""

  hop, channels, output_dim = 4, 1, D

  def __call__(self, x_BxNxC, valid_B=None, *, train=False):
    return jnp.zeros((len(x_BxNxC), x_BxNxC.shape[1] // 4, D))


@functools.cache
def model(name):
  encoder, decoder, _ = PARTS[name]
  quantizer = FactorizedRVQ(encoder.output_dim, K, V, 4)
  codec = Codec(encoder, quantizer, decoder, RATE)
  fresh = jax.jit(codec.init)(jax.random.key(0), jnp.zeros((1, 8 * encoder.hop, 1)))
  noise = lambda a: a + 0.1 * jax.random.normal(jax.random.key(1), a.shape)  # noqa: E731
  return CodecModel(codec, jax.tree.map(noise, fresh))


def noise(*shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def zeros(codec):
  """Returns variables that nothing is computed with."""
  shapes = variable_shapes(codec)
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def run(stream, x_BxN, sizes, state=None):
  """Codes blocks of so many samples, the last with `last`; returns codes and audio."""
  state, codes, audio = state or stream.start(), [], []
  ends = np.cumsum(sizes)
  assert ends[-1] == x_BxN.shape[1]
  for end, size in zip(ends, sizes, strict=True):
    block, last = x_BxN[:, end - size : end], end == ends[-1]
    tokens, state = stream.encode(state, block, last=last)
    part, state = stream.decode(state, tokens, last=last)
    assert tokens.mask_BxT.shape == tokens.codes_BxTxK.shape[:2]
    assert np.all(tokens.mask_BxT)
    codes.append(tokens.codes_BxTxK)
    audio.append(part)
  return np.concatenate(codes, 1), np.concatenate(audio, 1), codes


@pytest.mark.parametrize("name", PARTS)
def test_blocks_of_any_size_give_the_whole(name):
  codec, (first, *others) = model(name), PARTS[name][2]
  hop, frames = codec.spec.hop, np.random.default_rng(2).choice(others, 6)
  sizes = [hop * int(n) for n in [first, *frames]]
  sizes.append(hop // 2 + 1)  # ends within a frame
  x_BxN = noise(2, sum(sizes))
  stream = codec.stream(2)
  codes, audio, each = run(stream, x_BxN, sizes)
  whole = codec.encode(x_BxN)
  np.testing.assert_array_equal(codes, whole.codes_BxTxK)
  expected = codec.decode(whole)
  np.testing.assert_allclose(
    audio[:, : x_BxN.shape[1]], expected, rtol=0, atol=2e-5 * np.std(expected)
  )
  # What is late is late by what the stream says, once it has begun.
  known = sum(c.shape[1] for c in each[:-1]) * hop
  ahead = sum(sizes[:-1]) - known
  assert ahead <= stream.lookahead <= stream.latency - hop


def test_a_stream_that_ends_before_its_lead_is_whole():
  codec = model("mirrored")
  x_BxN = noise(2, 20)
  stream = codec.stream(2)
  assert stream.lead > 20 and stream.latency == codec.spec.hop
  codes, audio, each = run(stream, x_BxN, [6, 14])
  assert each[0].shape[1] == 0
  np.testing.assert_array_equal(codes, codec.encode(x_BxN).codes_BxTxK)
  assert audio.shape == (2, 24, 1)


def test_rows_end_and_begin_at_their_own_time():
  codec = model("mirrored")
  stream, hop = codec.stream(2), codec.spec.hop
  x_BxN, ended = noise(2, 20 * hop), 13 * hop - 2
  x_BxN[1, ended:] = np.nan
  state, rows, masks, sizes = stream.start(), [], [], [12 * hop, 3 * hop, 3 * hop]
  ends = np.cumsum(sizes)
  for size, end in zip(sizes, ends, strict=True):
    lengths = np.array([size, np.clip(ended - (end - size), 0, size)])
    tokens, state = stream.encode(state, x_BxN[:, end - size : end], lengths)
    rows.append(tokens.codes_BxTxK)
    masks.append(tokens.mask_BxT)
  codes, mask = np.concatenate(rows, 1), np.concatenate(masks, 1)
  whole = codec.encode(x_BxN[:, : ends[-1]], lengths=[ends[-1], ended])
  np.testing.assert_array_equal(mask, whole.mask_BxT)
  np.testing.assert_array_equal(codes, whole.codes_BxTxK)
  # A stream that begins takes the place of the one that has ended.
  alone, new_N = codec.stream(), noise(20 * hop)[::-1]
  first, begun = alone.encode(alone.start(), new_N[: 12 * hop])
  state = stream.join(state.replace(decoder=begun.decoder), 1, begun)
  block = np.stack(
    [x_BxN[0, ends[-1] : ends[-1] + 2 * hop], new_N[12 * hop : 14 * hop]]
  )
  tokens, _ = stream.encode(state, block)
  joined = np.concatenate([first.codes_BxTxK[0], tokens.codes_BxTxK[1]])
  expected = codec.encode(new_N[: 14 * hop]).codes_BxTxK[0]
  np.testing.assert_array_equal(joined, expected)


@pytest.mark.parametrize("name", ["mirrored", "dac"])
def test_long_clips_are_coded_as_streams(monkeypatch, name):
  codec = model(name)
  hop = codec.spec.hop
  x_N = noise(149 * hop - 1)
  whole = codec.encode(x_N)
  expected = codec.decode(whole)
  monkeypatch.setattr(inference, "_LONG_SAMPLES", 99 * hop)
  monkeypatch.setattr(inference, "BATCH_SAMPLES", 50 * hop)
  monkeypatch.delattr(Codec, "encode")
  monkeypatch.delattr(Codec, "decode")
  tokens = codec.encode(x_N)
  np.testing.assert_array_equal(tokens.codes_BxTxK, whole.codes_BxTxK)
  np.testing.assert_array_equal(tokens.mask_BxT, whole.mask_BxT)
  audio = codec.decode(tokens)
  assert audio.shape == expected.shape
  np.testing.assert_allclose(audio, expected, rtol=0, atol=2e-5 * np.std(expected))


def test_errors_say_what_was_expected():
  stream = model("mirrored").stream(2)
  with pytest.raises(ValueError, match=r"multiple of the hop of 6 .*got 7"):
    stream.encode(stream.start(), noise(2, 7))
  with pytest.raises(ValueError, match=r"shape \(2, N, 1\), got \(3, 6\)"):
    stream.encode(stream.start(), noise(3, 6))
  with pytest.raises(ValueError, match="batch must be a positive integer, got 0"):
    model("mirrored").stream(0)
  with pytest.raises(ValueError, match="num_codebooks"):
    model("mirrored").stream(1, 3)
  silent = Codec(Silent(), FactorizedRVQ(D, K, V, 4), PARTS["dac"][1], RATE)
  with pytest.raises(ValueError, match=r"encoder does not say how far it sees"):
    CodecModel(silent, zeros(silent)).stream()
  cut = Codec(*PARTS["dac"][:1], FactorizedRVQ(D, K, V, 4), PARTS["dac"][1], RATE)
  segmented = cut.clone(segments=Segments(8, 8), parent=None)
  with pytest.raises(ValueError, match="segments"):
    CodecModel(segmented, zeros(cut)).stream()
  normed = SeanetEncoder(4, (4,), latent_dim=D, norm="time_group_norm", **AHEAD)
  normed = Codec(normed, FactorizedRVQ(D, K, V, 4), PARTS["dac"][1], RATE)
  with pytest.raises(ValueError, match="encoder sees a whole clip"):
    CodecModel(normed, zeros(normed)).stream()
