"""The configs of experiments, put together from shared parts.

A part is a module with `full(config)`, which adds its fields to a config, and
`runlocal(config)`, which makes them small enough for minutes of two CPU cores; `sizes`
has those between.
"""

import math

from ml_collections import ConfigDict

from jaxcodec.recipes import (
  base,
  codec,
  codec_magnitude,
  delay,
  maskgit,
  semantic,
  sizes,
  valle,
)
from jaxcodec.recipes.args import parse
from jaxcodec.registry import Registry

SLMS = Registry("slm", {"delay": delay, "maskgit": maskgit, "valle": valle})
SIZES = ("runlocal", "laptop", "gpu")


def experiment(arg: str, *, codec_name: str, slm: str) -> ConfigDict:
  """Makes the config of a codec of the study and a language model on its tokens.

  Args:
    arg: what follows the colon of `--config=configs/x.py:...`: a size, `runlocal` for
      minutes of two CPU cores, `laptop` for an evening of them or `gpu` for hours of
      one GPU; `codec=NAME` for another codec of the study (see `jaxcodec.presets`);
      `scratch` to train the codec also where weights of it come with the package,
      which `runlocal` and `laptop` would take as they are;
      `sizes=matched` for a decoder with about as many parameters as the others.
    codec_name: the codec where `arg` names none.
    slm: the language model, one of `SLMS`, to which others can be added.

  Raises:
    ValueError: an argument or a codec that there is not, or two sizes.
  """
  args = parse(
    arg, **dict.fromkeys(SIZES, False), scratch=False, sizes="own", codec=codec_name
  )
  wanted = [size for size in SIZES if args[size]]
  if len(wanted) > 1:
    raise ValueError(f"config arguments: one size at most, got {wanted}")
  config = ConfigDict()
  base.full(config)
  codec.full(config, args["codec"])
  matched = codec.is_matched(args["sizes"])
  semantic.full(config)
  language_model = SLMS.lookup(slm)
  language_model.full(config)
  if args["runlocal"] or args["laptop"]:
    for part in (base, codec, language_model):
      part.runlocal(config)
  if args["laptop"]:
    sizes.laptop(config)
  if args["gpu"]:
    sizes.gpu(config)
  if matched:
    codec.match_decoder(config, thin=not args["gpu"] and bool(wanted))
  if (args["runlocal"] or args["laptop"]) and not args["scratch"]:
    longer = 3 if args["runlocal"] else 1
    codec_magnitude.take_shipped(config, args["codec"], longer)
  if "frames_per_batch" in config.slm_train:
    valle.count_frames(config, _frame_rate(config.codec))
  return config


def _frame_rate(codec_config: ConfigDict) -> float:
  """Returns the frames a second of a codec of the study."""
  encoder = codec_config.encoder
  hop = encoder.hop if "hop" in encoder else math.prod(encoder.strides)
  return codec_config.sample_rate / hop
