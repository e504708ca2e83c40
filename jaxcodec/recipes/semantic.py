"""The semantic tokens; all experiments make them, so their tokens serve any model."""

from ml_collections import ConfigDict, config_dict


def full(config: ConfigDict) -> None:
  """Adds the fields."""
  config.semantic = dict(
    name="mfcc",  # or hubert
    num_clusters=512,
    weights=config_dict.placeholder(str),  # of hubert: a folder of transformers'
    layer=9,  # of hubert
  )
