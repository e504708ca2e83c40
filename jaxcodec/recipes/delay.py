"""One autoregressive language model over all codebooks; what it reads is VALL-E's."""

from ml_collections import ConfigDict

from jaxcodec.recipes import valle


def full(config: ConfigDict) -> None:
  """Adds the fields: one stack of 12 layers of 1024."""
  valle.full(config)
  config.slm.name = "delay"
  del config.slm.level_weights
  # Of all codebooks above the first, whose codes what follows is drawn from.
  config.generate.sampler.nar_temperature = 0.8


def runlocal(config: ConfigDict) -> None:
  """Makes it minutes of two CPU cores: four layers of 128."""
  valle.runlocal(config)
