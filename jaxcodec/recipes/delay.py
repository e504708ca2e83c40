"""One autoregressive language model over all codebooks; what it reads is VALL-E's."""

from ml_collections import ConfigDict

from jaxcodec.recipes import valle


def full(config: ConfigDict) -> None:
  """Adds the fields: one stack of 12 layers of 1024."""
  valle.full(config)
  config.slm.name = "delay"
  for field in ("nar_draws", "nar_width", "nar_depth"):
    del config.slm[field]
  config.slm.level_weights = "uniform"  # or linear: what the codebooks count
  config.slm.text_dropout = 0.1  # share of the rows that learn to speak without a text
  config.generate.sampler.guidance = 1.0  # more heeds the text more
  _draw(config)


def runlocal(config: ConfigDict) -> None:
  """Makes it minutes of two CPU cores: four layers of 128."""
  valle.runlocal(config)
  _draw(config)


def _draw(config: ConfigDict) -> None:
  """Draws all codebooks above the first, as what follows depends on their codes."""
  config.generate.sampler.update(nar_temperature=0.8, nar_choice="draw")
