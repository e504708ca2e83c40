"""The configs of experiments, put together from shared parts.

A part is a module with `full(config)`, which adds its fields to a config, and
`runlocal(config)`, which makes them small enough for minutes of two CPU cores.
"""

from ml_collections import ConfigDict

from jaxcodec.recipes import base, codec, maskgit, semantic, valle
from jaxcodec.recipes.args import parse
from jaxcodec.registry import Registry

SLMS = Registry("slm", {"maskgit": maskgit, "valle": valle})


def experiment(arg: str, *, codec_name: str, slm: str) -> ConfigDict:
  """Makes the config of a codec of the study and a language model on its tokens.

  Args:
    arg: what follows the colon of `--config=configs/x.py:...`: `runlocal` for the
      small one, `codec=NAME` for another codec of the study (see `jaxcodec.presets`).
    codec_name: the codec where `arg` names none.
    slm: the language model, one of `SLMS`, to which others can be added.

  Raises:
    ValueError: an argument or a codec that there is not.
  """
  args = parse(arg, runlocal=False, codec=codec_name)
  config = ConfigDict()
  base.full(config)
  codec.full(config, args["codec"])
  semantic.full(config)
  language_model = SLMS.lookup(slm)
  language_model.full(config)
  if args["runlocal"]:
    for part in (base, codec, semantic, language_model):
      part.runlocal(config)
  return config
