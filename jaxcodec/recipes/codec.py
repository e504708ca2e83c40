"""A codec of the study, and a training that is the same for all codecs."""

from ml_collections import ConfigDict, config_dict

from jaxcodec import presets
from jaxcodec.recipes import base, codec_magnitude


def full(config: ConfigDict, name: str) -> None:
  """Adds the preset `name` and how to train it.

  That is DAC's losses and optimisers, but for a decoder of magnitudes.
  """
  config.codec = presets.preset(name)
  config.codec.dtype = config_dict.placeholder(str)  # bfloat16: of layers once trained
  if config.codec.decoder.name == "magnitude":
    codec_magnitude.full(config)
    return
  _full_gan(config)
  if config.codec.quantizer.name == "semantic_rvq":
    config.codec_train.weights.distill = 1.0


def _full_gan(config):
  config.codec_train = base.training(
    steps=400_000,
    # As many samples a step as DAC's 72 x 0.38 s, which is less than the context that
    # a frame has in a recording: Vocos' decoder reaches 1.1 s.
    batch_size=24,
    crop_seconds=1.14,
    eval_crops=5,  # held-out recordings are measured in pieces of so many crops
    adversarial_start=0,
    freeze=(),  # ("encoder", "quantizer"): train a decoder for init_from's tokens
    ema_decay=0.999,
    weights=dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25),
    mel_scales=(
      (32, 5),
      (64, 10),
      (128, 20),
      (256, 40),
      (512, 80),
      (1024, 160),
      (2048, 320),
    ),
    mel_loss="dac",  # or encodec, vocos
    adversarial_loss="lsgan",  # or hinge (EnCodec), clipped_hinge (Vocos)
    feature_matching="dac",  # or encodec, vocos
    dtype="bfloat16",  # or float32: of all layers in training, and of nothing after
    remat="none",  # or products, full: which activations are kept; see nn/remat.py
    discriminator=dict(
      name="dac",
      periods=(2, 3, 5, 7, 11),
      n_ffts=(2048, 1024, 512),
      period_width=32,
      band_width=32,
    ),
    optimizer=_adamw(learning_rate=1e-4, gamma=0.999996, clip_norm=1e3),
    disc_optimizer=_adamw(learning_rate=1e-4, gamma=0.999996, clip_norm=10.0),
  )


def _adamw(**settings):
  return dict(warmup_steps=0, b1=0.8, b2=0.99, weight_decay=0.01, **settings)


# Sizes of each named part of a codec; one latent width, so that all parts fit.
_THIN = {
  "encoder": {
    "dac": dict(width=8, latent_dim=64),
    "seanet": dict(width=8, latent_dim=64),
  },
  "decoder": {
    "dac": dict(width=128),
    "seanet": dict(width=128),
    "vocos": dict(width=96, mlp_width=288, depth=4),
  },
}


def runlocal(config: ConfigDict) -> None:
  """Makes it minutes of two CPU cores: thin layers, short examples, higher rates."""
  if config.codec.decoder.name == "magnitude":
    codec_magnitude.runlocal(config)
    return
  for part, thin in _THIN.items():
    # A ConfigDict's fields cannot be added to by update.
    sizes = thin.get(config.codec[part].name, {})  # magnitudes are thin as they are
    config.codec[part] = {**config.codec[part], **sizes}
  config.codec.quantizer.update(dropout=0.25)
  train = config.codec_train
  train.update(steps=3500, batch_size=2, crop_seconds=1.0, adversarial_start=2900)
  train.update(ema_decay=0.99, log_every=20, eval_every=300, checkpoint_every=300)
  train.dtype = "float32"  # CPUs have no products of bfloat16
  train.discriminator.update(
    periods=(2, 5), n_ffts=(512,), period_width=4, band_width=4
  )
  for optimizer in (train.optimizer, train.disc_optimizer):
    # Without clipping, or at 2e-3, all latents collapse to one code.
    optimizer.update(
      learning_rate=1.5e-3, gamma=0.9993, warmup_steps=100, clip_norm=1.0
    )


# Widths with which decoders have about as many parameters as Vocos' has: 13.8 million,
# and as much as thin ones can be, 0.4 million.
_MATCHED = {
  "seanet": dict(width=1104),
  "seanet_lstm": dict(width=704),
  "vocos": {},
  "dac": dict(width=864),
}
_MATCHED_THIN = {
  "seanet": dict(width=176),
  "seanet_lstm": dict(width=112),
  "vocos": {},
  "dac": dict(width=144),
}


def is_matched(sizes: str) -> bool:
  """Whether decoders have their systems' "own" sizes or "matched" ones.

  Raises:
    ValueError: neither.
  """
  if sizes not in ("own", "matched"):
    raise ValueError(f"config argument sizes must be own or matched, got {sizes!r}")
  return sizes == "matched"


def match_decoder(config: ConfigDict, *, thin: bool) -> None:
  """Gives the decoder a matched size.

  Raises:
    ValueError: there is none for it.
  """
  kind = config.codec.decoder.name
  kind += "_lstm" if config.codec.decoder.get("lstm_layers") else ""
  widths = _MATCHED_THIN if thin else _MATCHED
  if kind not in widths:
    raise ValueError(f"sizes=matched: decoder {kind!r} has no size like the others'")
  config.codec.decoder.update(widths[kind])
