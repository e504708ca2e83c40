"""Which published model a codec is, and what that model is called there."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.porting import dac as dac_tables
from jaxcodec.porting import encodec as encodec_tables
from jaxcodec.porting import huggingface
from jaxcodec.porting.table import Rule
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.factorized import FactorizedRVQ


class Family(NamedTuple):
  """How one codec's weights are kept elsewhere.

  Attributes:
    package: whose model it is.
    rules: the table of its weights.
    renames: Hugging Face's names; none where transformers lacks the model.
    config: Hugging Face's `config.json`.
    folded: whether Hugging Face's model has its weight norms multiplied out.
    kwargs: what its own file says of how it is built, if anything.
  """

  package: str
  rules: tuple[Rule, ...]
  renames: huggingface.Renames = ()
  config: Mapping[str, Any] = {}
  folded: bool = False
  kwargs: Mapping[str, Any] = {}

  def wrapped(self, state: dict[str, Any]) -> dict[str, Any]:
    """What the original's own `save` writes."""
    if not self.kwargs:
      return state
    return {"state_dict": state, "metadata": {"kwargs": dict(self.kwargs)}}


def family(codec: Codec) -> Family:
  """The family of a codec.

  Raises:
    ValueError: no published model has these parts.
  """
  parts = type(codec.encoder), type(codec.quantizer), type(codec.decoder)
  if parts not in _FAMILIES:
    names = [part.__name__ for part in parts]
    known = [[part.__name__ for part in parts] for parts in _FAMILIES]
    raise ValueError(f"no published codec has the parts {names}; known: {known}")
  return _FAMILIES[parts](codec)


def _dac(codec):
  encoder, quantizer, decoder = codec.encoder, codec.quantizer, codec.decoder
  kwargs = dict(
    encoder_dim=encoder.width,
    encoder_rates=list(encoder.strides),
    latent_dim=encoder.output_dim,
    decoder_dim=decoder.width,
    decoder_rates=list(decoder.strides),
    n_codebooks=quantizer.num_codebooks,
    codebook_size=quantizer.codebook_size,
    codebook_dim=quantizer.codebook_dim,
    sample_rate=codec.sample_rate,
  )
  config = dict(
    model_type="dac",
    architectures=["DacModel"],
    encoder_hidden_size=encoder.width,
    downsampling_ratios=list(encoder.strides),
    upsampling_ratios=list(decoder.strides),
    hidden_size=encoder.output_dim,
    decoder_hidden_size=decoder.width,
    n_codebooks=quantizer.num_codebooks,
    codebook_size=quantizer.codebook_size,
    codebook_dim=quantizer.codebook_dim,
    hop_length=encoder.hop,
    sampling_rate=codec.sample_rate,
  )
  return Family(
    "descript-audio-codec",
    dac_tables.CODEC,
    renames=huggingface.dac(len(encoder.strides)),
    config=config,
    folded=True,
    kwargs=kwargs,
  )


def _encodec(codec):
  encoder, decoder = codec.encoder, codec.decoder
  rules = encodec_tables.CODEC
  if not encoder.lstm_layers or decoder.final_tanh:  # transformers has no such model
    return Family("encodec", rules)
  renames = huggingface.encodec(len(decoder.strides), decoder.residual_layers)
  return Family("encodec", rules, renames, _encodec_config(codec))


def _encodec_config(codec):
  encoder, quantizer = codec.encoder, codec.quantizer
  config = dict(
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
    return config
  overlap = 1 - codec.segments.stride / codec.segments.length
  seconds = codec.segments.length / codec.sample_rate
  return dict(config, chunk_length_s=seconds, overlap=round(overlap, 6))


def _bandwidths(codec):
  """kbps of 2, 4, 8, ... and of all codebooks, at whole frames a second."""
  K, bits = codec.quantizer.num_codebooks, math.log2(codec.quantizer.codebook_size)
  counts = [*(2**i for i in range(1, K.bit_length()) if 2**i < K), K]
  rate = math.ceil(codec.sample_rate / codec.encoder.hop)
  return [count * rate * math.ceil(bits) / 1000 for count in counts]


_FAMILIES = {
  (DacEncoder, FactorizedRVQ, DacDecoder): _dac,
  (SeanetEncoder, EmaRVQ, SeanetDecoder): _encodec,
}
