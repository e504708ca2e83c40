"""Config to modules and tasks: the only reader of model config."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcodec import presets
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.discriminators import DacDiscriminator
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.segments import Segments
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.quantizers.fsq import FSQ
from jaxcodec.slm.decode import IterativeSampler
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import TokenSpec

Config = Mapping[str, Any]

ENCODERS = {"dac": DacEncoder, "seanet": SeanetEncoder}
QUANTIZERS = {"factorized_rvq": FactorizedRVQ, "ema_rvq": EmaRVQ, "fsq": FSQ}
DECODERS = {"dac": DacDecoder, "seanet": SeanetDecoder}
DISCRIMINATORS = {"dac": DacDiscriminator}
SLMS = {"maskgit": MaskGit}
_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class ConfigError(ValueError):
  """A config field that cannot be; the message names it."""


def make_codec(config: Config) -> Codec:
  """The codec that `config.codec` describes, checked to fit together.

  `codec.preset` names a preset, whose fields the others override; see `presets`.
  `codec.segments` and `codec.normalize` are optional; see `Codec`.

  Raises:
    ConfigError: an unknown name or field, or parts that do not fit.
  """
  try:
    codec = presets.expanded(config["codec"])
  except ValueError as error:
    raise ConfigError(f"codec.preset: {error}") from error
  if "data" in config:
    codec.setdefault("sample_rate", config["data"]["sample_rate"])
  encoder = _named(ENCODERS, codec, "codec.encoder")
  decoder = _named(DECODERS, codec, "codec.decoder")
  for field, what in (("hop", "a hop"), ("channels", "a number of channels")):
    ours, theirs = getattr(encoder, field), getattr(decoder, field)
    if ours != theirs:
      raise ConfigError(
        f"codec.decoder has {what} of {theirs}, but codec.encoder one of {ours}; they"
        " must be equal"
      )
  quantizer = _named(QUANTIZERS, codec, "codec.quantizer", width=encoder.output_dim)
  rate = _positive(codec, "codec", "sample_rate")
  segments, path = codec.get("segments"), "codec.segments"
  if segments is not None:
    segments = _call(Segments.in_seconds, dict(segments), path, sample_rate=rate)
  normalize = codec.get("normalize", False)
  return Codec(encoder, quantizer, decoder, rate, segments, normalize)


def make_preset(preset: str | Config) -> Codec:
  """The codec of a preset's name, or of a config like `config.codec`."""
  return make_codec(
    {"codec": {"preset": preset} if isinstance(preset, str) else preset}
  )


def variable_shapes(codec: Codec) -> Any:
  """The codec's variables as nested dicts of `ShapeDtypeStruct`s."""
  silence_BxNxC = jnp.zeros((1, codec.spec.hop, codec.num_channels))
  return jax.eval_shape(codec.init, jax.random.key(0), silence_BxNxC)


def make_codec_task(config: Config) -> CodecGanTask:
  """The codec with its discriminators, losses and optimisers."""
  train, path = config["codec_train"], "codec_train"
  codec = make_codec(config)
  if codec.sample_rate != config["data"]["sample_rate"]:
    raise ConfigError(
      f"data.sample_rate is {config['data']['sample_rate']}, but codec.sample_rate"
      f" {codec.sample_rate}; they must be equal"
    )
  crop_samples(config, path, codec.spec)
  if unknown := set(train["weights"]) ^ set(CodecGanTask.LOSSES):
    raise ConfigError(f"{path}.weights must name {CodecGanTask.LOSSES}, see {unknown}")
  return CodecGanTask(
    codec=codec,
    discriminator=_named(DISCRIMINATORS, train, f"{path}.discriminator"),
    opt=_adamw(train["optimizer"], f"{path}.optimizer"),
    disc_opt=_adamw(train["disc_optimizer"], f"{path}.disc_optimizer"),
    weights=dict(train["weights"]),
    mel_scales=tuple(tuple(scale) for scale in train["mel_scales"]),
    adversarial_start=train["adversarial_start"],
    ema_decay=train["ema_decay"],
  )


def make_slm_task(config: Config, spec: TokenSpec) -> SlmTask:
  """The speech language model with its optimiser."""
  train = config["slm_train"]
  crop_samples(config, "slm_train", spec)
  settings = dict(train["optimizer"], steps=train["steps"])
  settings["ema_decay"] = train["ema_decay"]
  return _call(SlmTask, settings, "slm_train.optimizer", model=make_slm(config, spec))


def make_slm(config: Config, spec: TokenSpec) -> MaskGit:
  """The speech language model that `config.slm` describes."""
  slm = config["slm"]
  if slm["width"] % slm["heads"]:
    raise ConfigError(
      f"slm.width ({slm['width']}) must be a multiple of slm.heads ({slm['heads']})"
    )
  num_semantic = _positive(config["semantic"], "semantic", "num_clusters")
  return _named(SLMS, config, "slm", spec=spec, num_semantic=num_semantic)


def make_sampler(config: Config) -> IterativeSampler:
  """How to decode: `config.generate.sampler`."""
  sampler = config["generate"]["sampler"]
  return _call(IterativeSampler, dict(sampler), "generate.sampler")


def crop_samples(config: Config, stage: str, spec: TokenSpec) -> int:
  """`config[stage].crop_seconds` in samples, a whole number of frames."""
  seconds = config[stage]["crop_seconds"]
  frames = math.floor(seconds * spec.sample_rate / spec.hop)
  if frames < 1:
    raise ConfigError(
      f"{stage}.crop_seconds must give at least one frame of {spec.hop} samples,"
      f" got {seconds} s"
    )
  return frames * spec.hop


def check(config: Config) -> None:
  """Builds everything, without weights, so that what cannot be fails at once.

  Raises:
    ConfigError: naming the field.
  """
  for stage in ("codec_train", "slm_train"):
    for name in ("steps", "batch_size", "log_every", "eval_every", "checkpoint_every"):
      _positive(config[stage], stage, name)
  for stage in ("generate", "evaluate"):
    _positive(config[stage], stage, "num_utterances")
  spec = make_codec_task(config).codec.spec
  make_slm_task(config, spec)
  make_sampler(config)


def check_shapes(config: Config) -> None:
  """Traces the codec and its discriminators on a crop, without computing anything.

  Raises:
    ConfigError: a crop does not fit them.
  """
  task = make_codec_task(config)
  samples = crop_samples(config, "codec_train", task.codec.spec)
  audio_BxN = jax.ShapeDtypeStruct((1, samples), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  try:
    jax.eval_shape(task.init, key, {"audio_BxN": audio_BxN})
  except (TypeError, ValueError) as error:
    raise ConfigError(
      f"codec, codec_train: a crop of {samples} samples does not fit the codec and its"
      f" discriminators: {error}"
    ) from error


def _adamw(settings: Config, path: str) -> optax.GradientTransformation:
  """AdamW under a linear warm-up, exponential decay and a clipped global norm."""
  known = inspect.signature(_schedule).parameters.keys() | {
    *("b1", "b2", "weight_decay", "clip_norm")
  }
  if unknown := set(settings) ^ known:
    raise ConfigError(f"{path} must have the fields {sorted(known)}, see {unknown}")
  rate = _schedule(**{n: settings[n] for n in inspect.signature(_schedule).parameters})
  betas = {name: settings[name] for name in ("b1", "b2", "weight_decay")}
  clip = optax.clip_by_global_norm(settings["clip_norm"])
  return optax.chain(clip, optax.adamw(rate, **betas))


def _schedule(learning_rate: float, warmup_steps: int, gamma: float) -> optax.Schedule:
  decay = optax.exponential_decay(learning_rate, 1, gamma)
  if not warmup_steps:
    return decay
  rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
  return optax.join_schedules([rise, decay], [warmup_steps])


def _named(known: Mapping[str, Callable], config: Config, path: str, **given) -> Any:
  """`known[name](**fields)` for the sub-config at the end of `path`."""
  fields = dict(config[path.rsplit(".", 1)[-1]])
  name = fields.pop("name", None)
  if name not in known:
    raise ConfigError(f"{path}.name must be one of {sorted(known)}, got {name!r}")
  return _call(known[name], fields, path, **given)


def _call(function: Callable, fields: dict[str, Any], path: str, **given) -> Any:
  """`function(**fields, **given)`, with an error that names the field of the config."""
  known = inspect.signature(function).parameters.keys() - given.keys()
  if unknown := sorted(set(fields) - known):
    names = ", ".join(f"{path}.{name}" for name in unknown)
    raise ConfigError(f"{names}: unknown; known: {sorted(known - {'parent', 'name'})}")
  for name, value in fields.items():
    if isinstance(value, int) and not isinstance(value, bool) and name in _POSITIVE:
      _positive(fields, path, name)
  if "dtype" in fields:
    fields = {**fields, "dtype": _dtype(fields["dtype"], f"{path}.dtype")}
  try:
    return function(**fields, **given)
  except (TypeError, ValueError) as error:
    raise ConfigError(f"{path}: {error}") from error


_POSITIVE = {
  *("width", "depth", "heads", "num_codebooks", "codebook_size", "codebook_dim"),
  *("latent_dim", "period_width", "band_width", "kmeans_iters"),
  *("channels", "compress"),
}


def _positive(config: Config, path: str, name: str) -> int:
  value = config[name]
  if not isinstance(value, int) or value < 1:
    raise ConfigError(f"{path}.{name} must be a positive integer, got {value!r}")
  return value


def _dtype(name: str, path: str) -> Any:
  if name not in _DTYPES:
    raise ConfigError(f"{path} must be one of {sorted(_DTYPES)}, got {name!r}")
  return _DTYPES[name]
