"""The fields that every experiment has: data, devices, measures."""

from typing import Any

from ml_collections import ConfigDict, config_dict


def full(config: ConfigDict) -> None:
  """Adds the fields."""
  config.seed = 0
  config.imports = ()  # modules from outside that register parts, e.g. ("my.module",)
  config.stages = "codec,tokens,slm,generate,evaluate,report"
  config.mesh = dict(data=-1, fsdp=1, tensor=1)
  config.cpu_devices = 1  # how many devices a CPU counts as

  config.data = dict(
    source="embedded",  # or folder, tfds; synthetic: noise, to time training alone
    path=config_dict.placeholder(str),
    on_error="raise",  # or skip: leave out what cannot be used, and list it
    sample_rate=16_000,
    valid=0.05,  # shares of the sentences that are held out
    test=0.05,
    # In place of the shares: a corpus's own parts, by the names of their folders, as
    # train=("train-clean-100",), valid=("dev-clean",), test=("test-clean",).
    folders=dict(train=(), valid=(), test=()),
    workers=0,  # processes that load audio for training; 0: threads of the trainer
    options=dict(
      # of embedded: open (default), sentences (the written ones of it), matrix
      script=config_dict.placeholder(str),
      max_utterances=config_dict.placeholder(int),  # of embedded: the first ones only
      voices=config_dict.placeholder(int),  # of embedded: 1 to 8; default 4
      name=config_dict.placeholder(str),  # of tfds: the data set
      split=config_dict.placeholder(str),  # of tfds: default train
      native_rate=config_dict.placeholder(int),  # of tfds: Hz, where it does not say
    ),
  )

  config.evaluate = dict(
    num_utterances=64,
    asr="whisper-tiny.en",  # or a folder: faster-whisper's, or a HubertForCTC
    language=config_dict.placeholder(str),  # of the speech; default text.language, or
    # English
    speaker="voicefilter_dvector",  # or resemblyzer, or a folder: a WavLMForXVector
    utmos=config_dict.placeholder(str),  # utmos_scripted.pt, for the metric utmos
    threads=2,
    opus=False,  # whether to measure Opus too, at the codec's bitrate and twice that
    lyra=config_dict.placeholder(str),  # folder of Lyra V2's files, to measure it too
    mdct_kmeans=True,  # and a codec without a network, at the codec's bitrate
    reconstruction=(
      "pesq_wb",
      "stoi",
      "si_sdr",
      "mel_distance",
      "f0_rmse_cents",
      "voicing_error",
      "dnsmos_ovrl",
      "wer",
      "cer",
      "codebook_usage",
      "codebook_perplexity",
      "bitrate_kbps",
    ),
    generation=("wer", "cer", "speaker_similarity", "dnsmos_ovrl"),
  )


def transformer(name: str) -> dict[str, Any]:
  """Returns the fields of a language model of the full size."""
  return dict(
    name=name,
    width=1024,
    depth=12,
    heads=16,
    dropout=0.1,
    dtype="bfloat16",
    remat="products",  # or none, full: which activations are kept; see nn/remat.py
  )


def training(**settings: Any) -> dict[str, Any]:
  """Returns the fields of a section that trains: `settings`, and those of all."""
  return dict(
    accumulate=1,  # parts that a batch is computed in, to need the memory of one
    init_from=config_dict.placeholder(str),  # weights to begin with: file or folder
    skip_nonfinite=0,  # steps with NaN that a run may leave out; it stops at one more
    log_every=100,
    eval_every=5000,
    eval_batches=8,
    checkpoint_every=5000,
    keep=2,  # checkpoints: the latest ones, and
    best=config_dict.placeholder(tuple),  # e.g. ("eval/loss", "min"), whose weights
    # are then what the stage gives
    profile_steps=config_dict.placeholder(tuple),  # e.g. (10, 13)
    **settings,
  )


def runlocal(config: ConfigDict) -> None:
  """Makes them small: few utterances to measure."""
  config.cpu_devices = 2  # layers this thin keep no more than one core busy each
  config.evaluate.update(num_utterances=32)
