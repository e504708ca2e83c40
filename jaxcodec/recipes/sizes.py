"""The sizes of experiments between minutes of two CPU cores and a pod.

They are set here for all parts together, as what one model costs is what another can't
have.
"""

from ml_collections import ConfigDict


def laptop(config: ConfigDict) -> None:
  """Makes a `runlocal` config longer and wider: an evening of two CPU cores."""
  config.evaluate.update(num_utterances=64)
  config.generate.update(num_utterances=64)
  config.codec_train.update(log_every=100, eval_every=1000, checkpoint_every=500)
  if config.codec.decoder.name == "magnitude":
    config.codec_train.update(steps=8000)
  else:
    config.codec_train.update(steps=20_000, adversarial_start=10_000)
    for optimizer in (config.codec_train.optimizer, config.codec_train.disc_optimizer):
      optimizer.update(gamma=0.9999)
  config.slm.update(width=256, depth=6)
  if config.slm.name == "valle":
    # The NAR takes little of a step's time and learns one of seven levels of a row.
    config.slm.update(nar_width=128, nar_depth=4, nar_draws=2)
    # This NAR is surer than those of minutes: its likelier codes alone sound clearer.
    config.generate.sampler.update(nar_temperature=0.5)
  if config.slm.name == "delay":
    config.generate.sampler.update(temperature=0.6, nar_temperature=0.3)
  config.slm_train.update(steps=6500, log_every=100, eval_every=500)
  config.slm_train.update(checkpoint_every=500, ema_decay=0.998)
  config.slm_train.optimizer.update(learning_rate=1e-3, warmup_steps=200)


def gpu(config: ConfigDict) -> None:
  """Makes a full config smaller: hours of one GPU."""
  config.codec_train.update(steps=20_000, eval_every=1000, checkpoint_every=1000)
  config.slm.update(width=512, depth=8, heads=8)
  config.slm_train.update(steps=20_000, eval_every=1000, checkpoint_every=1000)
  config.slm_train.optimizer.update(learning_rate=5e-4, warmup_steps=1000)
