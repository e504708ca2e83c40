"""Streams have the codes and the audio of the whole."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from api_helpers import random_variables, toy, toy_model

from jaxcodec.api import CodecModel
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacEncoder
from jaxcodec.codecs.magnitude import MagnitudeDecoder, MagnitudeEncoder
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.segments import Segments
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.inference import codec as inference
from jaxcodec.quantizers.factorized import FactorizedRVQ

D, K, V, RATE = 8, 2, 32, 8000
HALF = dict(width=2, mlp_width=2, depth=1, n_fft=20, hop=20, sub_hop=10)
# Encoder, decoder, and frames of the first block and of others. What is kept does not
# grow after the first, so that there are few programs.
PARTS = {
  "mirrored": (
    SeanetEncoder(4, (2, 3), latent_dim=D, lstm_layers=1),
    SeanetDecoder(8, (3, 2), lstm_layers=1),
    (8, 2),
  ),
  "zeros, vocos": (
    SeanetEncoder(4, (6,), latent_dim=D, lstm_layers=1, pad_mode="constant"),
    VocosDecoder(4, 4, 1, n_fft=12, hop=6),
    (24, 8),
  ),
  "dac, seanet ahead": (
    DacEncoder(2, (6,), latent_dim=D),
    SeanetDecoder(8, (3, 2), lstm_layers=0, causal=False),
    (32, 12),
  ),
  "magnitude": (
    MagnitudeEncoder(**HALF),
    MagnitudeDecoder(**HALF, iterations=2),
    (32, 10),
  ),
}


class Silent(nn.Module):
  """An encoder that says nothing about its reach."""

  hop, channels, output_dim = 6, 1, D

  def __call__(self, x_BxNxC, valid_B=None, *, train=False):
    return jnp.zeros((len(x_BxNxC), x_BxNxC.shape[1] // 6, D))


@functools.cache
def model(name):
  encoder, decoder, _ = PARTS[name]
  codec = Codec(encoder, FactorizedRVQ(encoder.output_dim, K, V, 4), decoder, RATE)
  rng = np.random.default_rng(1)  # biases of zero would hide some padding
  moved = lambda leaf: leaf + rng.normal(0, 0.05, leaf.shape).astype(np.float32)  # noqa: E731
  return CodecModel(codec, jax.tree.map(moved, random_variables(codec)))


def noise(*shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def zeros(codec):
  """Returns variables that nothing is computed with."""
  shapes = variable_shapes(codec)
  return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def run(stream, x_BxN, sizes):
  """Codes blocks of so many samples, the last with `last`.

  Returns codes and audio, joined, and the frames and samples of each block.
  """
  state, codes, audio, counts = stream.start(), [], [], []
  blocks = np.split(x_BxN, np.cumsum(sizes)[:-1], 1)
  for index, block in enumerate(blocks):
    last = index == len(blocks) - 1
    tokens, state = stream.encode(state, block, last=last)
    part, state = stream.decode(state, tokens, last=last)
    assert tokens.mask_BxT.shape == tokens.codes_BxTxK.shape[:2]
    assert np.all(tokens.mask_BxT)
    codes.append(tokens.codes_BxTxK)
    audio.append(part)
    counts.append((tokens.codes_BxTxK.shape[1], part.shape[1]))
  return np.concatenate(codes, 1), np.concatenate(audio, 1), counts


@pytest.mark.parametrize("seed", range(3))
def test_blocks_of_any_size_give_the_whole(seed):
  frames = np.random.default_rng(seed).integers(0, 6, 9)
  check(toy_model(), [2 * int(n) for n in frames] + [seed])


@pytest.mark.parametrize("name", PARTS)
def test_blocks_of_each_codec_give_the_whole(name):
  codec, (first, other) = model(name), PARTS[name][2]
  frames = [first, other, other, other]
  check(codec, [n * codec.spec.hop for n in frames] + [codec.spec.hop // 2 + 1])


def check(codec, sizes):
  """Compares blocks of so many samples, the last of them ending, with the whole."""
  hop, x_BxN = codec.spec.hop, noise(2, sum(sizes))
  stream = codec.stream(2)
  codes, audio, counts = run(stream, x_BxN, sizes)
  whole = codec.encode(x_BxN)
  assert len(np.unique(codes)) > 3
  np.testing.assert_array_equal(codes, whole.codes_BxTxK)
  expected = codec.decode(whole)
  np.testing.assert_allclose(
    audio[:, : x_BxN.shape[1]], expected, rtol=0, atol=2e-5 * np.std(expected)
  )
  # It begins with the lead, and from then on is late by what the stream says.
  heard = np.cumsum([samples for _, samples in counts])
  given = np.cumsum(sizes)
  at = np.argmax(heard > 0)
  assert given[at] - sizes[at] < stream.lead <= given[at]
  late = (given - heard)[at:-1]
  assert (late <= stream.lookahead).all() and stream.latency == stream.lookahead + hop


def test_a_stream_that_ends_before_its_lead_is_whole():
  codec = model("mirrored")
  x_BxN = noise(2, 20)
  stream = codec.stream(2)
  assert stream.lead > 20 and stream.latency == codec.spec.hop
  codes, audio, counts = run(stream, x_BxN, [6, 14])
  assert counts[0] == (0, 0)
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


def test_long_clips_are_coded_as_streams(monkeypatch):
  codec, x_N = toy_model(), noise(299)
  whole = codec.encode(x_N)
  expected = codec.decode(whole)
  monkeypatch.setattr(inference, "_LONG_SAMPLES", 200)
  monkeypatch.setattr(inference, "BATCH_SAMPLES", 80)
  monkeypatch.delattr(Codec, "encode")  # fails what isn't a stream
  monkeypatch.delattr(Codec, "decode")
  codec = CodecModel(*toy())
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
  with pytest.raises(ValueError, match="must be floats in .* or int16, got int32"):
    stream.encode(stream.start(), np.zeros((2, 6, 1), np.int32))
  with pytest.raises(ValueError, match=r"shape \(2, N, 1\), got \(3, 6\)"):
    stream.encode(stream.start(), noise(3, 6))
  for lengths in ([6], [6, 7], [6.0, 6.0], [-1, 6]):
    with pytest.raises(ValueError, match=r"lengths must be 2 integers of 0 to 6"):
      stream.encode(stream.start(), noise(2, 6), lengths)
  with pytest.raises(ValueError, match="batch must be a positive integer, got 0"):
    model("mirrored").stream(0)
  with pytest.raises(ValueError, match="num_codebooks"):
    model("mirrored").stream(1, 3)
  encoder, decoder, _ = PARTS["dac, seanet ahead"]
  silent = Codec(Silent(), FactorizedRVQ(D, K, V, 4), decoder, RATE)
  with pytest.raises(ValueError, match=r"encoder does not say how far it sees"):
    CodecModel(silent, zeros(silent)).stream()
  cut = Codec(encoder, FactorizedRVQ(D, K, V, 4), decoder, RATE)
  segmented = cut.clone(segments=Segments(8, 8), parent=None)
  with pytest.raises(ValueError, match="segments"):
    CodecModel(segmented, zeros(cut)).stream()
  ahead = dict(lstm_layers=0, causal=False)
  normed = SeanetEncoder(4, (6,), latent_dim=D, norm="time_group_norm", **ahead)
  normed = Codec(normed, FactorizedRVQ(D, K, V, 4), decoder, RATE)
  with pytest.raises(ValueError, match="encoder sees a whole clip"):
    CodecModel(normed, zeros(normed)).stream()
