"""The masked parallel language model and its decoding."""

from ml_collections import ConfigDict, config_dict

from jaxcodec.recipes import base


def full(config: ConfigDict) -> None:
  """Adds the fields: 12 layers of 1024."""
  config.slm = base.transformer("maskgit")
  config.slm.update(fully_masked=0.5)
  config.slm_train = base.training(
    codebook_start=True,  # codes begin as what they are to the codec
    steps=400_000,
    batch_size=64,
    crop_seconds=15.0,
    fill=True,  # windows, with more utterances of the speaker where one is short
    optimizer=dict(learning_rate=3e-4, warmup_steps=10_000, weight_decay=0.01),
    ema_decay=0.999,
  )

  config.generate = dict(
    num_utterances=64,
    min_seconds=4.0,  # shorter and longer utterances are left out, as in VALL-E's
    max_seconds=10.0,  # protocol
    prompt_seconds=3.0,
    prompts=config_dict.placeholder(str),  # or a file, see `pipeline.prompt_list`
    batch_size=8,
    sampler=dict(
      steps=(16,),
      temperature=1.0,
      top_k=0,
      top_p=1.0,
      choice_noise=4.5,
      guidance_condition=0.0,  # how far to push away from what comes without it
      guidance_prompt=0.0,
    ),
  )


def runlocal(config: ConfigDict) -> None:
  """Makes it minutes of two CPU cores: four layers of 128."""
  config.slm.update(width=128, depth=4, heads=4, dropout=0.0)
  config.slm.update(dtype="float32", remat="none")
  train = config.slm_train
  # As long as a prompt and what follows it are when it generates.
  train.update(steps=1000, batch_size=8, crop_seconds=6.0, ema_decay=0.99)
  train.update(log_every=20, eval_every=200, checkpoint_every=200)
  train.optimizer.update(learning_rate=2e-3, warmup_steps=50)
  config.generate.update(num_utterances=32, min_seconds=0.0)
  # Less is right of what so small a model finds possible; see docs/training.md.
  config.generate.sampler.update(temperature=0.7, guidance_condition=0.5)
