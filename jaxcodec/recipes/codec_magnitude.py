"""How a codec of magnitudes is trained: from a fitted start, without discriminators."""

from ml_collections import ConfigDict, FieldReference

from jaxcodec import shipped
from jaxcodec.recipes import base

CODEC, SHIPPED = "magnitude_16khz", "speech_16khz"


def full(config: ConfigDict) -> None:
  """Adds its training to a config that has its `codec`."""
  steps = FieldReference(100_000)
  config.codec_train = base.training(
    task="magnitude",
    steps=steps,
    batch_size=64,
    crop_seconds=2.0,
    freeze=(),  # or ("encoder", "quantizer"): a decoder for init_from's tokens
    ema_decay=0.997,
    weights=dict(magnitude=40.0, bands=20.0, codebook=10.0, commitment=10.0),
    mel_scales=(  # of evaluation
      (32, 5),
      (64, 10),
      (128, 20),
      (256, 40),
      (512, 80),
      (1024, 160),
      (2048, 320),
    ),
    dtype="float32",  # or bfloat16: of the layers in training; see recipes/codec.py
    remat="none",
    start=dict(frames=60_000, iterations=8),
    optimizer=dict(
      learning_rate=1e-3,
      warmup_steps=100,
      gamma=1.0,
      cosine_steps=steps,  # follows codec_train.steps
      b1=0.9,
      b2=0.98,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
  )


def runlocal(config: ConfigDict) -> None:
  """Makes it minutes of two CPU cores; the codec keeps its size."""
  train = config.codec_train
  train.update(steps=1250, batch_size=16, log_every=20)
  train.update(eval_every=300, checkpoint_every=300)


def take_shipped(config: ConfigDict, codec: str, longer: int = 1) -> None:
  """Takes the weights that come with the package as they are, if they are this codec's.

  The language model is then trained so many times `longer`, as an experiment of minutes
  has them left.
  """
  if codec == CODEC and SHIPPED in shipped.codecs():
    config.codec_train.update(init_from=SHIPPED, steps=0)
    config.slm_train.steps = longer * config.slm_train.steps
