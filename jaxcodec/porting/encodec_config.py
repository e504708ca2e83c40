"""Writes EnCodec's `config.json` as transformers has it; `described` reads it."""

import math
from typing import Any

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.segments import Segments


def config(codec: Codec) -> dict[str, Any]:
  """Returns the fields, of a codec that transformers' EncodecModel can have."""
  encoder, quantizer = codec.encoder, codec.quantizer
  fields = dict(
    model_type="encodec",
    architectures=["EncodecModel"],
    sampling_rate=codec.sample_rate,
    audio_channels=encoder.channels,
    normalize=codec.normalize,
    hidden_size=encoder.latent_dim,
    num_filters=encoder.width,
    num_residual_layers=encoder.residual_layers,
    upsampling_ratios=list(codec.decoder.strides),
    norm_type=encoder.norm,
    use_causal_conv=encoder.causal,
    pad_mode=encoder.pad_mode,
    compress=encoder.compress,
    num_lstm_layers=encoder.lstm_layers,
    use_conv_shortcut=not encoder.true_skip,
    codebook_size=quantizer.codebook_size,
    codebook_dim=encoder.latent_dim,
    target_bandwidths=_bandwidths(codec),
  )
  if codec.segments is None:
    return fields
  seconds = codec.segments.length / codec.sample_rate
  return dict(fields, chunk_length_s=seconds, overlap=_overlap(codec.segments))


def _overlap(segments: Segments) -> float:
  """Returns the fraction with the fewest digits that the stride comes of."""
  exact = 1 - segments.stride / segments.length
  rounded = (round(exact, digits) for digits in range(1, 17))
  strides = ((part, int((1 - part) * segments.length)) for part in rounded)
  return next((part for part, found in strides if found == segments.stride), exact)


def _bandwidths(codec: Codec) -> list[float]:
  """Returns the kbps of 2, 4, 8, ... and all codebooks, at whole frames a second."""
  K, bits = codec.quantizer.num_codebooks, math.log2(codec.quantizer.codebook_size)
  counts = [*(2**i for i in range(1, K.bit_length()) if 2**i < K), K]
  rate = math.ceil(codec.sample_rate / codec.encoder.hop)
  return [count * rate * math.ceil(bits) / 1000 for count in counts]
