"""Turns `config.codec_train` into the training of a codec of magnitudes."""

from jaxcodec.build.fields import Config, ConfigError, positive
from jaxcodec.build.optimizers import make_adamw
from jaxcodec.codecs.codec import Codec
from jaxcodec.tasks.codec_magnitude import CodecMagnitudeTask


def make_task(
  codec: Codec, train: Config, path: str, freeze: tuple[str, ...] = ()
) -> CodecMagnitudeTask:
  """Makes the task of a codec whose halves are those of magnitudes.

  Args:
    codec, train, path: the codec, `config.codec_train` and its name.
    freeze: what `train` freezes: nothing, or encoder and quantiser.
  """
  _check_magnitude(codec, f"{path}.task 'magnitude'")
  if unknown := set(train["weights"]) ^ set(CodecMagnitudeTask.LOSSES):
    raise ConfigError(
      f"{path}.weights must name {CodecMagnitudeTask.LOSSES}, see {unknown}"
    )
  if len(set(freeze)) == 1:
    raise ConfigError(
      f"{path}.freeze must name both encoder and quantizer, or neither, with"
      f" {path}.task 'magnitude', got {freeze[0]!r}"
    )
  return CodecMagnitudeTask(
    codec=codec,
    opt=make_adamw(train["optimizer"], f"{path}.optimizer"),
    weights=dict(train["weights"]),
    mel_scales=tuple(tuple(scale) for scale in train["mel_scales"]),
    ema_decay=train["ema_decay"],
    accumulate=train["accumulate"],
    freeze=freeze,
  )


def _check_magnitude(codec: Codec, what: str) -> None:
  for half in (codec.encoder, codec.decoder):
    if not hasattr(half, "features"):
      raise ConfigError(
        f"{what} needs a codec.encoder and a codec.decoder named 'magnitude'"
      )


def check_start(start: Config, codec: Codec, path: str) -> None:
  """Raises ConfigError unless the codec can start on so many frames' features."""
  _check_magnitude(codec, path)
  if unknown := set(start) ^ {"frames", "iterations"}:
    raise ConfigError(f"{path} must have frames and iterations, see {unknown}")
  positive(start, path, "iterations")
  if (frames := positive(start, path, "frames")) < codec.quantizer.codebook_size:
    codes = codec.quantizer.codebook_size
    raise ConfigError(f"{path}.frames must be at least {codes} codes, got {frames}")
  for name in ("n_fft", "sub_hop", "power"):
    ours, theirs = getattr(codec.encoder, name), getattr(codec.decoder, name)
    if ours != theirs:
      raise ConfigError(
        f"{path} needs one {name} of codec.encoder and codec.decoder, got {ours} and"
        f" {theirs}"
      )
