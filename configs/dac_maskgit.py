"""DAC at 16 kHz with a masked-parallel SLM on its tokens.

    python launch/main.py --config=configs/dac_maskgit.py

trains the full models (DAC's 16 kHz codec and an SLM of 12 layers of 1024, for a GPU or
a pod) and wants data: add `--config.data.source=folder --config.data.path=DIR`.

    python launch/main.py --config=configs/dac_maskgit.py:runlocal

does the same with much smaller models, on the embedded corpus, in
minutes on a laptop's CPU. The README has the figures that it reaches.

    python launch/main.py --config=configs/dac_maskgit.py:runlocal,codec=encodecq_vocos

puts another codec of the study (see `jaxcodec.presets`) in DAC's place, all else equal.

    --config.semantic.name=hubert --config.semantic.weights=DIR

clusters HuBERT's features in MFCC's place; DIR is `facebook/hubert-base-ls960`, saved.
"""

from ml_collections import ConfigDict, config_dict

from jaxcodec import config_args, presets


def get_config(arg=""):
  args = config_args.parse(arg, runlocal=False, codec="dac")
  config = ConfigDict()
  config.seed = 0
  config.stages = "codec,tokens,slm,generate,evaluate,report"
  config.mesh = dict(data=-1, fsdp=1, tensor=1)
  config.cpu_devices = 1  # how many devices a CPU counts as

  config.data = dict(
    source="embedded",  # or folder, tfds
    path=config_dict.placeholder(str),
    on_error="raise",  # or skip: leave out what cannot be used, and list it
    sample_rate=16_000,
    valid=0.05,  # shares of the sentences that are held out
    test=0.05,
    options=dict(
      max_utterances=config_dict.placeholder(int),  # of embedded: the first ones only
      name=config_dict.placeholder(str),  # of tfds: the data set
      split=config_dict.placeholder(str),  # of tfds: default train
      native_rate=config_dict.placeholder(int),  # of tfds: Hz, where it does not say
    ),
  )

  config.codec = presets.preset(args["codec"])
  config.codec_train = dict(
    steps=400_000,
    batch_size=72,
    crop_seconds=0.38,
    adversarial_start=0,
    ema_decay=0.999,
    weights=dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25),
    mel_scales=(
      *((32, 5), (64, 10), (128, 20), (256, 40)),
      *((512, 80), (1024, 160), (2048, 320)),
    ),
    mel_loss="dac",  # or encodec, vocos
    adversarial_loss="lsgan",  # or hinge (EnCodec), clipped_hinge (Vocos)
    feature_matching="dac",  # or encodec, vocos
    discriminator=dict(
      name="dac",
      periods=(2, 3, 5, 7, 11),
      n_ffts=(2048, 1024, 512),
      period_width=32,
      band_width=32,
    ),
    optimizer=_adamw(learning_rate=1e-4, gamma=0.999996, clip_norm=1e3),
    disc_optimizer=_adamw(learning_rate=1e-4, gamma=0.999996, clip_norm=10.0),
    log_every=100,
    eval_every=5000,
    eval_batches=8,
    checkpoint_every=5000,
  )

  config.semantic = dict(
    name="mfcc",  # or hubert
    num_clusters=512,
    weights=config_dict.placeholder(str),  # of hubert: a folder of transformers'
    layer=9,  # of hubert
  )
  config.slm = dict(
    name="maskgit",
    width=1024,
    depth=12,
    heads=16,
    dropout=0.1,
    dtype="bfloat16",
    remat=True,
  )
  config.slm_train = dict(
    steps=400_000,
    batch_size=64,
    crop_seconds=15.0,
    optimizer=dict(learning_rate=3e-4, warmup_steps=10_000, weight_decay=0.01),
    ema_decay=0.999,
    log_every=100,
    eval_every=5000,
    eval_batches=8,
    checkpoint_every=5000,
  )

  config.generate = dict(
    num_utterances=64,
    prompt_seconds=3.0,
    batch_size=8,
    sampler=dict(steps=(16,), temperature=1.0, top_k=0, top_p=1.0, choice_noise=4.5),
  )
  config.evaluate = dict(
    num_utterances=64,
    asr="whisper-tiny.en",  # or a local faster-whisper folder
    threads=2,
    reconstruction=(
      *("pesq_wb", "stoi", "si_sdr", "mel_distance", "dnsmos_ovrl", "wer", "cer"),
      *("codebook_usage", "codebook_perplexity", "bitrate_kbps"),
    ),
    generation=("wer", "cer", "speaker_similarity", "dnsmos_ovrl"),
  )
  if args["runlocal"]:
    _runlocal(config)
  return config


def _adamw(**settings):
  return dict(warmup_steps=0, b1=0.8, b2=0.99, weight_decay=0.01, **settings)


# Of the parts of a codec by name; one latent width, so that any of them fit.
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


def _runlocal(config):
  """Minutes on two CPU cores: thin layers, few and short examples, higher rates."""
  config.cpu_devices = 2  # layers this thin keep no more than one core busy each
  for part, thin in _THIN.items():
    # A ConfigDict's fields cannot be added to by update.
    config.codec[part] = {**config.codec[part], **thin[config.codec[part].name]}
  config.codec.quantizer.update(dropout=0.25)
  train = config.codec_train
  train.update(steps=3500, batch_size=4, crop_seconds=0.5, adversarial_start=2900)
  train.update(ema_decay=0.99, log_every=20, eval_every=300, checkpoint_every=300)
  train.discriminator.update(
    periods=(2, 5), n_ffts=(512,), period_width=4, band_width=4
  )
  for optimizer in (train.optimizer, train.disc_optimizer):
    # Unclipped, at 2e-3, all latents fall on one code and stay there.
    optimizer.update(
      learning_rate=1.5e-3, gamma=0.9993, warmup_steps=100, clip_norm=1.0
    )

  config.semantic.num_clusters = 128
  config.slm.update(width=128, depth=4, heads=4, dropout=0.0)
  config.slm.update(dtype="float32", remat=False)
  train = config.slm_train
  train.update(steps=1000, batch_size=8, crop_seconds=4.0, ema_decay=0.99)
  train.update(log_every=20, eval_every=200, checkpoint_every=200)
  train.optimizer.update(learning_rate=2e-3, warmup_steps=50)
  config.generate.update(num_utterances=16)
  config.evaluate.update(num_utterances=16)
