"""Turns `config.codec` and `config.codec_train` into a codec and its training task."""

import dataclasses
from typing import Any

from jaxcodec import losses, presets
from jaxcodec.build import codec_magnitude
from jaxcodec.build.fields import (
  Config,
  ConfigError,
  call,
  crop_samples,
  dtype,
  named,
  positive,
  remat_mode,
)
from jaxcodec.build.optimizers import make_adamw
from jaxcodec.build.semantic import distilled_features
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.discriminators import (
  DacDiscriminator,
  EncodecDiscriminator,
  VocosDiscriminator,
)
from jaxcodec.codecs.magnitude import MagnitudeDecoder, MagnitudeEncoder
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.segments import Segments
from jaxcodec.codecs.vocoder import MelFeatures, Vocoder
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.quantizers.fsq import FSQ
from jaxcodec.quantizers.semantic import SemanticRVQ
from jaxcodec.quantizers.simvq import SimRVQ
from jaxcodec.registry import Registry
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.tasks.codec_magnitude import CodecMagnitudeTask

# A part is called with the fields of its config; quantisers also with `width`, the
# channels of the latent.
ENCODERS: Registry[Any] = Registry(
  "codec.encoder.name",
  {"dac": DacEncoder, "magnitude": MagnitudeEncoder, "seanet": SeanetEncoder},
  ConfigError,
)
QUANTIZERS: Registry[Any] = Registry(
  "codec.quantizer.name",
  {
    "factorized_rvq": FactorizedRVQ,
    "ema_rvq": EmaRVQ,
    "fsq": FSQ,
    "semantic_rvq": SemanticRVQ,
    "simvq": SimRVQ,
  },
  ConfigError,
)
DECODERS: Registry[Any] = Registry(
  "codec.decoder.name",
  {
    "dac": DacDecoder,
    "magnitude": MagnitudeDecoder,
    "seanet": SeanetDecoder,
    "vocos": VocosDecoder,
  },
  ConfigError,
)
VOCODER_DECODERS: Registry[Any] = Registry(
  "codec.decoder.name", {"vocos": VocosDecoder}, ConfigError
)
DISCRIMINATORS: Registry[Any] = Registry(
  "codec_train.discriminator.name",
  {
    "dac": DacDiscriminator,
    "encodec": EncodecDiscriminator,
    "vocos": VocosDiscriminator,
  },
  ConfigError,
)
# Kinds of losses in codec_train; DAC's where it does not say.
_LOSS_KINDS = {
  "mel_loss": losses.MEL,
  "adversarial_loss": losses.ADVERSARIAL,
  "feature_matching": losses.FEATURE_MATCHING,
}


def make_codec(config: Config) -> Codec:
  """Makes the codec that `config.codec` describes, checked to fit together.

  `codec.preset` names a preset, whose fields the others override; see `presets`.
  `codec.segments` and `codec.normalize` are optional; see `Codec`.

  Raises:
    ConfigError: an unknown name or field, or parts that do not fit.
  """
  codec = _codec_config(config)
  encoder = named(ENCODERS, codec, "codec.encoder")
  decoder = named(DECODERS, codec, "codec.decoder")
  for field, what in (("hop", "a hop"), ("channels", "a number of channels")):
    ours, theirs = getattr(encoder, field), getattr(decoder, field)
    if ours != theirs:
      raise ConfigError(
        f"codec.decoder has {what} of {theirs}, but codec.encoder one of {ours}; they"
        " must be equal"
      )
  if getattr(decoder, "padding", "same") == "center":
    raise ConfigError(
      "codec.decoder.padding must be 'same': 'center' gives a hop less than the audio"
    )
  quantizer = named(QUANTIZERS, codec, "codec.quantizer", width=encoder.output_dim)
  rate = positive(codec, "codec", "sample_rate")
  segments, path = codec.get("segments"), "codec.segments"
  if segments is not None:
    segments = call(Segments.in_seconds, dict(segments), path, sample_rate=rate)
  normalize = codec.get("normalize", False)
  return Codec(encoder, quantizer, decoder, rate, segments, normalize)


def with_defaults(config: Config) -> dict[str, Any]:
  """Returns a config whose codec says what its parts have where it leaves it to them.

  Raises:
    ConfigError: see `make_codec`.
  """
  codec, made = _codec_config(config), make_codec(config)
  for part in ("encoder", "quantizer", "decoder"):
    module = getattr(made, part)
    defaults = {
      field.name: getattr(module, field.name)
      for field in dataclasses.fields(module)
      if field.name not in ("name", "parent")
    }
    if part == "quantizer":
      del defaults["width"]  # the encoder's
    codec[part] = {**defaults, **codec[part]}
  return {**config, "codec": codec}


def _codec_config(config: Config) -> dict[str, Any]:
  """Returns `config.codec` with its preset written out and the data's sample rate."""
  try:
    codec = presets.expand(config["codec"])
  except ValueError as error:
    raise ConfigError(f"codec.preset: {error}") from error
  if "data" in config:
    codec.setdefault("sample_rate", config["data"]["sample_rate"])
  if unknown := sorted(codec.keys() - _CODEC_FIELDS - _OPTIONAL_FIELDS):
    raise ConfigError(f"codec.{unknown[0]}: unknown; known: {sorted(_CODEC_FIELDS)}")
  if missing := sorted(_CODEC_FIELDS - codec.keys()):
    raise ConfigError(f"codec.{missing[0]} is missing")
  if codec.get("dtype"):  # of both halves, whatever they say
    for half in ("encoder", "decoder"):
      codec[half] = {**codec[half], "dtype": codec["dtype"]}
  return codec


_CODEC_FIELDS = {"sample_rate", "encoder", "quantizer", "decoder"}
_OPTIONAL_FIELDS = {"segments", "normalize", "dtype"}


def make_vocoder(config: Config) -> Vocoder:
  """Makes the vocoder that `config.codec` describes: one with `mel` features."""
  fields = presets.expand(config["codec"])
  if unknown := sorted(fields.keys() ^ {"sample_rate", "mel", "decoder"}):
    raise ConfigError(f"codec: a vocoder has mel and decoder, see {unknown}")
  rate = positive(fields, "codec", "sample_rate")
  mel = call(MelFeatures, dict(fields["mel"]), "codec.mel", sample_rate=rate)
  decoder = named(VOCODER_DECODERS, fields, "codec.decoder")
  return call(Vocoder, {}, "codec", mel=mel, decoder=decoder)


def make_preset(preset: str | Config) -> Codec | Vocoder:
  """Makes the codec or vocoder of a preset's name or a config like `config.codec`."""
  config = presets.config_of(preset)
  return (make_vocoder if "mel" in config else make_codec)({"codec": config})


def make_codec_task(
  config: Config, codec: Codec | None = None
) -> CodecGanTask | CodecMagnitudeTask:
  """Makes the codec's training: losses, optimisers and discriminators, if any.

  Args:
    config: of an experiment. `codec_train.task` is "magnitude" for the training of a
      codec of magnitudes, and "gan" or absent for that with discriminators.
    codec: what `make_codec` gives for it, made here if None.
  """
  train, path = config["codec_train"], "codec_train"
  codec = _for_training(codec or make_codec(config), train)
  if codec.sample_rate != config["data"]["sample_rate"]:
    raise ConfigError(
      f"data.sample_rate is {config['data']['sample_rate']}, but codec.sample_rate"
      f" {codec.sample_rate}; they must be equal"
    )
  crop_samples(config, path, codec.spec)
  if train.get("start"):
    codec_magnitude.check_start(train["start"], codec, f"{path}.start")
  kind = train.get("task", "gan")
  if kind not in _TASKS:
    raise ConfigError(f"{path}.task must be one of {sorted(_TASKS)}, got {kind!r}")
  semantic = distilled_features(config, codec)
  task = _TASKS[kind](codec, train, path, _frozen(train, path))
  return task if semantic is None else dataclasses.replace(task, semantic=semantic)


def _gan_task(
  codec: Codec, train: Config, path: str, freeze: tuple[str, ...]
) -> CodecGanTask:
  terms = set(train["weights"]) - set(CodecGanTask.OPTIONAL_LOSSES)
  if unknown := terms ^ set(CodecGanTask.LOSSES):
    raise ConfigError(f"{path}.weights must name {CodecGanTask.LOSSES}, see {unknown}")
  if getattr(codec.decoder, "bandwidth_codebooks", None) and len(freeze) < 2:
    raise ConfigError(
      f"{path}.freeze must be ('encoder', 'quantizer') for a decoder with"
      " bandwidth_codebooks: of tokens that are trained, too, it would only learn the"
      " last of its conditions"
    )
  start = train["adversarial_start"]
  if "eval_crops" in train:  # configs of earlier revisions lack it
    positive(train, path, "eval_crops")
  return CodecGanTask(
    codec=codec,
    discriminator=_discriminator(train, path),
    opt=make_adamw(train["optimizer"], f"{path}.optimizer"),
    disc_opt=make_adamw(train["disc_optimizer"], f"{path}.disc_optimizer", start),
    weights=dict(train["weights"]),
    mel_scales=tuple(tuple(scale) for scale in train["mel_scales"]),
    adversarial_start=start,
    ema_decay=train["ema_decay"],
    accumulate=train["accumulate"],
    freeze=freeze,
    crop_samples=crop_samples({path: train}, path, codec.spec),
    **_loss_kinds(train, path),
  )


def _frozen(train: Config, path: str) -> tuple[str, ...]:
  """Returns the parts that `codec_train.freeze` names; configs may not have it."""
  freeze = tuple(train.get("freeze") or ())
  if unknown := [part for part in freeze if part not in ("encoder", "quantizer")]:
    raise ConfigError(
      f"{path}.freeze must name 'encoder' or 'quantizer' or both, got {unknown[0]!r}"
    )
  if freeze and not train.get("init_from"):
    raise ConfigError(
      f"{path}.freeze needs {path}.init_from, the codec whose {' and '.join(freeze)}"
      " are kept"
    )
  return freeze


_TASKS = {"gan": _gan_task, "magnitude": codec_magnitude.make_task}


def _for_training(codec: Codec, train: Config) -> Codec:
  """Gives both halves the `remat` and the `dtype` of `codec_train`.

  A frozen half keeps its type, as its codes must be those of the codec that it is of.
  A part from outside may have neither field.
  """
  halves, mode = {}, remat_mode(train, "codec_train")
  kind = dtype(train.get("dtype", "float32"), "codec_train.dtype")
  for name in ("encoder", "decoder"):
    half = getattr(codec, name)
    if mode != "none" and not hasattr(half, "remat"):
      raise ConfigError(f"codec_train.remat must be 'none': codec.{name} has no remat")
    wanted = {"remat": mode}
    if name not in (train.get("freeze") or ()):
      wanted["dtype"] = kind
    halves[name] = half.clone(**{n: v for n, v in wanted.items() if hasattr(half, n)})
  return codec.clone(**halves)


def _discriminator(train: Config, path: str) -> Any:
  """Makes the discriminator, with the `dtype` and `remat` of `codec_train`."""
  shared = {"dtype": train["dtype"], "remat": remat_mode(train, path)}
  typed = {**shared, **train["discriminator"]}
  return named(DISCRIMINATORS, {"discriminator": typed}, f"{path}.discriminator")


def _loss_kinds(train: Config, path: str) -> dict[str, Any]:
  """Returns the kinds of losses and the balancer that `codec_train` names."""
  kinds = {name: train[name] for name in _LOSS_KINDS if name in train}
  for name, kind in kinds.items():
    if kind not in (known := _LOSS_KINDS[name]):
      raise ConfigError(f"{path}.{name} must be one of {sorted(known)}, got {kind!r}")
  if train.get("balancer"):
    fields = dict(train["balancer"])
    kinds["balancer"] = call(losses.Balancer, fields, f"{path}.balancer")
  return kinds
