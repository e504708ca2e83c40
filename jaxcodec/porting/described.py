"""Reads how a codec is built from what its authors' files say of it.

Known are the `config.json` of transformers' DacModel and EncodecModel, the
`config.yaml` of Vocos, and the arguments of its model that a file of DAC's authors has.
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxcodec import files, presets
from jaxcodec.porting import readers, vocos


def codec_config(path: files.PathLike) -> dict[str, Any] | None:
  """Returns the config of the codec whose weights lie at a path.

  Args:
    path: a folder, or the file of weights in it.

  Returns:
    A config for `build.codec.make_preset`; None where nothing says it.

  Raises:
    FileNotFoundError: the folder has no weights.
    ValueError: naming the path: it describes another kind of model, or a field is
      missing.
  """
  said = readers.description(path)
  if not said:
    return None
  signs = (name for field, name in _SIGNS.items() if field in said)
  kind = next(signs, said.get("model_type"))
  if kind not in _READERS:
    raise ValueError(f"{path}: its config is of {kind!r}; known are {sorted(_READERS)}")
  with readers.name_in_errors(path):
    try:
      return _READERS[kind](said)
    except KeyError as error:
      raise ValueError(f"its config lacks {error}") from None
    except (ArithmeticError, AttributeError, TypeError) as error:
      raise ValueError(f"its config makes no codec: {error}") from None


def _dac(said: Mapping[str, Any]) -> dict[str, Any]:
  """Source: DacConfig in configuration_dac.py of transformers."""
  shared = ("codebook_size", "codebook_dim")
  strides = said["downsampling_ratios"]
  return dict(
    sample_rate=said["sampling_rate"],
    encoder=dict(
      name="dac",
      width=said["encoder_hidden_size"],
      strides=strides,
      latent_dim=said.get("hidden_size"),
    ),
    quantizer=dict(
      name="factorized_rvq",
      num_codebooks=said["n_codebooks"],
      **{name: said[name] for name in shared},
    ),
    decoder=dict(
      name="dac",
      width=said["decoder_hidden_size"],
      strides=said.get("upsampling_ratios", strides[::-1]),
    ),
  )


def _original_dac(said: Mapping[str, Any]) -> dict[str, Any]:
  """Source: DAC in dac/model/dac.py of descript-audio-codec, with its defaults."""
  books = dict(n_codebooks=9, codebook_size=1024, codebook_dim=8)
  sizes = {name: said.get(name, default) for name, default in books.items()}
  encoder = dict(width=said.get("encoder_dim", 64), strides=said["encoder_rates"])
  return dict(
    sample_rate=said.get("sample_rate", 44_100),
    encoder=dict(name="dac", latent_dim=said.get("latent_dim"), **encoder),
    quantizer=dict(
      name="factorized_rvq", num_codebooks=sizes.pop("n_codebooks"), **sizes
    ),
    decoder=dict(
      name="dac", width=said.get("decoder_dim", 1536), strides=said["decoder_rates"]
    ),
  )


def _encodec(said: Mapping[str, Any]) -> dict[str, Any]:
  """Source: EncodecConfig in configuration_encodec.py of transformers."""
  for name, only in _ENCODECS.items():
    if said.get(name, only) != only:
      raise ValueError(f"{name} is {said[name]}; known is {only} alone")
  ups, width = said["upsampling_ratios"], said["num_filters"]
  shared = dict(
    name="seanet",
    channels=said["audio_channels"],
    residual_layers=said["num_residual_layers"],
    compress=said["compress"],
    true_skip=not said.get("use_conv_shortcut", True),  # older files lack it
    lstm_layers=said["num_lstm_layers"],
    norm=said["norm_type"],
    causal=said["use_causal_conv"],
    pad_mode=said["pad_mode"],
  )
  config = dict(
    sample_rate=said["sampling_rate"],
    normalize=said["normalize"],
    encoder=dict(
      width=width, strides=ups[::-1], latent_dim=said["hidden_size"], **shared
    ),
    quantizer=dict(
      name="ema_rvq",
      num_codebooks=_num_quantizers(said),
      codebook_size=said["codebook_size"],
    ),
    decoder=dict(width=width * 2 ** len(ups), strides=ups, **shared),
  )
  seconds = said.get("chunk_length_s")
  if seconds is None:
    return config
  return dict(config, segments=dict(seconds=seconds, overlap=said["overlap"]))


def _num_quantizers(said: Mapping[str, Any]) -> int:
  """Returns how many codebooks the highest bitrate takes."""
  frame_rate = math.ceil(said["sampling_rate"] / math.prod(said["upsampling_ratios"]))
  bits = math.ceil(math.log2(said["codebook_size"]))
  return int(1000 * said["target_bandwidths"][-1] // (frame_rate * bits))


def _vocos(said: Mapping[str, Any]) -> dict[str, Any]:
  """Source: vocos/pretrained.py (vocos 0.1.0)."""
  decoder = {"name": "vocos", **vocos.decoder_fields(said)}
  if "bandwidth_codebooks" in decoder:
    config = presets.preset("vocos_encodec_24khz")
    books = max(decoder["bandwidth_codebooks"])
    quantizer = {**config["quantizer"], "num_codebooks": books}
    return {**config, "quantizer": quantizer, "decoder": decoder}
  mel = vocos.mel_fields(said)
  return dict(sample_rate=mel.pop("sample_rate"), mel=mel, decoder=decoder)


_READERS = {
  "dac": _dac,
  "encodec": _encodec,
  "vocos": _vocos,
  "original dac": _original_dac,
}
# Fields by which configs without a `model_type` are told.
_SIGNS = {"feature_extractor": "vocos", "encoder_rates": "original dac"}
# Fields that change what is computed, but no shape: as `codecs.seanet` has them.
_ENCODECS = dict(
  trim_right_ratio=1.0,
  dilation_growth_rate=2,
  kernel_size=7,
  last_kernel_size=7,
  residual_kernel_size=3,
)
