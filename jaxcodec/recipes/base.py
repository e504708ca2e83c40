"""What every experiment has: the data, the devices, the measures."""

from ml_collections import ConfigDict, config_dict


def full(config: ConfigDict) -> None:
  """Adds the fields."""
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


def runlocal(config: ConfigDict) -> None:
  """Minutes on two CPU cores: few utterances to measure."""
  config.cpu_devices = 2  # layers this thin keep no more than one core busy each
  config.evaluate.update(num_utterances=16)
