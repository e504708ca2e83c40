"""The AR + NAR language model, its texts, its training and its decoding."""

import math

from ml_collections import ConfigDict, config_dict

from jaxcodec.recipes import base

_FRAME_RATE = 50  # Hz


def full(config: ConfigDict) -> None:
  """Adds the fields: two stacks of 12 layers of 1024."""
  config.text = dict(
    front_end="auto",  # or hibari, espeak, dictionary, characters
    language="en-us",  # or another that espeak knows, such as de, es
    max_symbols=400,  # of a text
  )
  config.slm = dict(
    base.transformer("valle"),
    nar_width=config_dict.placeholder(int),  # None: the NAR is as large as the AR
    nar_depth=config_dict.placeholder(int),
    positions="aligned",  # or separate (VALL-E's), sequence: how symbols and frames
    # stand to each other, see docs/training.md
    nar_draws=1,  # levels that the NAR learns of an utterance in a step
    position_jitter=0.08,  # how far off the pace of the text is in training
    level_weights="linear",  # or uniform (VALL-E's): which levels the NAR learns most
  )
  config.slm_train = base.training(
    codebook_start=True,  # codes begin as what they are to the codec
    steps=400_000,
    max_seconds=15.0,  # longer utterances are left out
    frames_per_batch=24_064,  # 32 of the longest
    num_buckets=8,  # shapes of batches, each a program to compile
    continuations=1,  # times that each utterance is also read behind another one
    optimizer=dict(learning_rate=3e-4, warmup_steps=10_000, weight_decay=0.01),
    ema_decay=0.999,
  )

  config.generate = dict(
    num_utterances=64,
    min_seconds=4.0,  # shorter and longer utterances are left out, as in VALL-E's
    max_seconds=10.0,  # protocol
    prompt_seconds=3.0,  # at most; a whole utterance
    prompts=config_dict.placeholder(str),  # or a file, see `pipeline.prompt_list`
    batch_size=8,
    sampler=dict(
      max_frames=1500,
      min_frames=0,
      temperature=0.95,
      top_k=30,
      top_p=0.9,
      repetition_penalty=1.0,
      repetition_limit=1.0,
      repetition_window=10,
      nar_temperature=0.0,
      nar_choice="draw",  # or mean: the code nearest to all that are likely
    ),
  )


def count_frames(config: ConfigDict, frame_rate: float) -> None:
  """Makes the numbers of frames, which are for codecs of 50 Hz, those of another rate.

  So batches hold as many utterances, and as long ones are spoken.
  """
  train, sampler = config.slm_train, config.generate.sampler
  rows = train.frames_per_batch // _padded(train.max_seconds * _FRAME_RATE)
  train.frames_per_batch = rows * _padded(train.max_seconds * frame_rate)
  sampler.max_frames = round(sampler.max_frames * frame_rate / _FRAME_RATE)


def _padded(frames):
  return 8 * math.ceil(frames / 8)  # as batches are


def runlocal(config: ConfigDict) -> None:
  """Makes it minutes of two CPU cores: two stacks of four layers of 128."""
  config.slm.update(width=128, depth=4, heads=4)
  config.slm.update(dtype="float32", remat="none")
  train = config.slm_train
  train.update(steps=700, max_seconds=8.0, frames_per_batch=1600, num_buckets=4)
  train.update(continuations=2)
  train.update(ema_decay=0.99, log_every=20, eval_every=200, checkpoint_every=200)
  train.optimizer.update(learning_rate=2e-3, warmup_steps=50)
  config.generate.update(num_utterances=32, min_seconds=0.0)
  sampler = config.generate.sampler
  sampler.update(max_frames=400, temperature=0.7)
  sampler.update(nar_temperature=1.0, nar_choice="mean")
