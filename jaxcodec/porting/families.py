"""Finds the published model that a codec is built like, and its files' layout."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.vocoder import Vocoder
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.porting import dac as dac_tables
from jaxcodec.porting import encodec as encodec_tables
from jaxcodec.porting import encodec_config, huggingface, readers
from jaxcodec.porting import vocos as vocos_tables
from jaxcodec.porting.table import Rule, is_known
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.factorized import FactorizedRVQ

State = dict[str, np.ndarray]


class Family:
  """How the files of one published model are laid out.

  Attributes:
    package: the Python package of the original.
    rules: the table of its weights.
    renames: Hugging Face's names; empty if transformers lacks the model.
    config: Hugging Face's `config.json`.
    folded: whether Hugging Face's model has weight norms folded into kernels.
    kwargs: the original's constructor arguments, as `config_fields` gives it.
  """

  package: str
  rules: tuple[Rule, ...]
  renames: huggingface.Renames = ()
  config: Mapping[str, Any] = {}
  folded = False
  kwargs: Mapping[str, Any] = {}

  def config_fields(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what a checkpoint's config says about `kwargs`."""
    return config

  def count_known(self, state: Mapping[str, Any]) -> int:
    """Counts the names in a state dict, of either layout, that the rules know."""
    names = huggingface.to_original(state, self.renames)
    return sum(is_known(name, self.rules) for name in names)

  def from_checkpoint(
    self, state: State, path: pathlib.Path, encodec_path: pathlib.Path | None = None
  ) -> State:
    """Returns the arrays that the rules cover, of a state dict read from `path`.

    Args:
      state: the arrays.
      path: where they were read.
      encodec_path: EnCodec's weights, where `needs_encodec`; None for those that lie
        beside `path`.
    """
    return state

  def with_buffers(self, state: State) -> State:
    """Adds the buffers that the original has besides its parameters."""
    return state

  def to_checkpoint(self, state: State) -> dict[str, Any]:
    """Returns the object that the original's own `save` writes."""
    return state


def family_of(codec: Codec | Vocoder) -> Family:
  """Returns the family of a codec.

  Raises:
    ValueError: no published model has these parts.
  """
  if isinstance(codec, Vocoder):
    return _VocosMel(codec)
  parts = type(codec.encoder), type(codec.quantizer), type(codec.decoder)
  if parts not in _FAMILIES:
    names = [part.__name__ for part in parts]
    known = [[part.__name__ for part in parts] for parts in _FAMILIES]
    raise ValueError(f"no published codec has the parts {names}; known: {known}")
  return _FAMILIES[parts](codec)


def needs_encodec(codec: Codec | Vocoder) -> bool:
  """Tells whether published weights of a codec leave out EnCodec, which it contains."""
  return isinstance(family_of(codec), _VocosEncodec)


class _Dac(Family):
  package, rules, folded = "descript-audio-codec", dac_tables.CODEC, True

  def __init__(self, codec: Codec):
    encoder, quantizer, decoder = codec.encoder, codec.quantizer, codec.decoder
    strides, ups = list(encoder.strides), list(decoder.strides)
    shared = dict(
      n_codebooks=quantizer.num_codebooks,
      codebook_size=quantizer.codebook_size,
      codebook_dim=quantizer.codebook_dim,
    )
    self.kwargs = dict(
      encoder_dim=encoder.width,
      encoder_rates=strides,
      latent_dim=encoder.output_dim,
      decoder_dim=decoder.width,
      decoder_rates=ups,
      sample_rate=codec.sample_rate,
      **shared,
    )
    self.renames = huggingface.dac(len(strides))
    self.config = dict(
      model_type="dac",
      architectures=["DacModel"],
      encoder_hidden_size=encoder.width,
      downsampling_ratios=strides,
      upsampling_ratios=ups,
      hidden_size=encoder.output_dim,
      decoder_hidden_size=decoder.width,
      hop_length=encoder.hop,
      sampling_rate=codec.sample_rate,
      **shared,
    )

  def to_checkpoint(self, state):
    return {"state_dict": state, "metadata": {"kwargs": dict(self.kwargs)}}


class _Encodec(Family):
  package, rules = "encodec", encodec_tables.CODEC

  def __init__(self, codec: Codec):
    encoder, decoder = codec.encoder, codec.decoder
    if encoder.lstm_layers and not decoder.final_tanh:  # transformers has no others
      layers = decoder.residual_layers
      self.renames = huggingface.encodec(len(decoder.strides), layers)
      self.config = encodec_config.config(codec)


# What the training of Vocos keeps beside the model (vocos/experiment.py).
_OF_VOCOS_TRAINING = ("multiperioddisc.", "multiresddisc.", "melspec_loss.")


def _without_training(state: State) -> State:
  """Returns a checkpoint of Vocos' training without discriminators and losses."""
  return {n: a for n, a in state.items() if not n.startswith(_OF_VOCOS_TRAINING)}


class _VocosMel(Family):
  package, rules = "vocos", vocos_tables.VOCODER

  def __init__(self, vocoder: Vocoder):
    self._mel, self._decoder = vocoder.mel, vocoder.decoder
    self.kwargs = {
      **{f"mel.{n}": v for n, v in dataclasses.asdict(vocoder.mel).items()},
      **_vocos_fields(vocoder.decoder),
    }

  def config_fields(self, config):
    if not config:
      return {}
    mel = vocos_tables.mel_fields(config)
    return {
      **{f"mel.{name}": value for name, value in mel.items()},
      **vocos_tables.decoder_fields(config),
    }

  def from_checkpoint(self, state, path, encodec_path=None):
    return _without_training(state)

  def with_buffers(self, state):
    mel = {n: getattr(self._mel, n) for n in ("sample_rate", "n_fft", "n_mels")}
    return {**vocos_tables.compute_buffers(self._decoder.n_fft, mel), **state}


class _VocosEncodec(Family):
  """Vocos on EnCodec's tokens, whose encoder is read from EnCodec's own file.

  Vocos's files hold nothing of EnCodec but its codebooks.
  """

  package = "vocos"
  rules = (*encodec_tables.CODEC, *vocos_tables.DECODER)

  def __init__(self, codec: Codec):
    self._codec = codec
    self.kwargs = _vocos_fields(codec.decoder)

  def config_fields(self, config):
    return vocos_tables.decoder_fields(config) if config else {}

  def from_checkpoint(self, state, path, encodec_path=None):
    quantizer = self._codec.quantizer
    state = _without_training(state)
    parts = vocos_tables.split_state(state, quantizer.codebook_size)
    encodec = parts.encodec or self._read_encodec(encodec_path or _encodec_beside(path))
    used = re.compile(rf"encoder\..*|{_level(range(quantizer.num_codebooks))}")
    encodec = {name: array for name, array in encodec.items() if used.fullmatch(name)}
    books_VxD = [encodec[name] for name in self._codebooks() if name in encodec]
    books_KxVxD = parts.codebooks_KxVxD
    if books_KxVxD is not None and not np.array_equal(books_KxVxD, books_VxD):
      where = f"beside {path}" if encodec_path is None else f"at {encodec_path}"
      raise ValueError(f"its codebooks are not those of the EnCodec {where}")
    return {**parts.decoder, **encodec}

  def with_buffers(self, state):
    ours = {n: a for n, a in state.items() if n.startswith(("backbone.", "head."))}
    books_KVxD = np.concatenate([state[name] for name in self._codebooks()])
    ours["feature_extractor.codebook_weights"] = books_KVxD
    return {**vocos_tables.compute_buffers(self._codec.decoder.n_fft), **ours}

  def _read_encodec(self, path):
    """Returns the state dict of EnCodec by its own names, also from Hugging Face's."""
    encoder = self._codec.encoder
    names = huggingface.encodec(len(encoder.strides), encoder.residual_layers)
    return huggingface.to_original(readers.read(path).state, names)

  def _codebooks(self):
    levels = range(self._codec.quantizer.num_codebooks)
    return [f"quantizer.vq.layers.{k}._codebook.embed" for k in levels]


def _level(levels):
  """Returns a regex of the weights of these levels of EnCodec's quantiser."""
  return rf"quantizer\.vq\.layers\.({'|'.join(map(str, levels))})\._codebook\..*"


def _encodec_beside(path: pathlib.Path) -> pathlib.Path:
  folder = path if path.is_dir() else path.parent
  found = sorted(folder.glob(_ENCODEC_FILE))
  if not found:
    raise FileNotFoundError(
      f"{path} has no EnCodec in it: put EnCodec's own file, {_ENCODEC_FILE}, beside it"
    )
  return found[0]


def _vocos_fields(decoder):
  names = ("width", "mlp_width", "depth", "n_fft", "hop", "padding")
  fields = {name: getattr(decoder, name) for name in names}
  books = decoder.bandwidth_codebooks
  return fields if books is None else dict(fields, bandwidth_codebooks=list(books))


_ENCODEC_FILE = "encodec_24khz*.th"
_FAMILIES = {
  (DacEncoder, FactorizedRVQ, DacDecoder): _Dac,
  (SeanetEncoder, EmaRVQ, SeanetDecoder): _Encodec,
  (SeanetEncoder, EmaRVQ, VocosDecoder): _VocosEncodec,
}
