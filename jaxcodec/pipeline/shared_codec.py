"""A language model's experiment on the codec and the tokens of another one."""

import os
import pathlib

from jaxcodec import stages
from jaxcodec.build.fields import ConfigError

SHARED = ("codec", "tokens")


def use_codec_of(source: str | os.PathLike, workdir: str | os.PathLike) -> None:
  """Links the finished codec and tokens of `source` into `workdir`.

  The links are relative, so that both can be moved together. The experiment should run
  the stages after them only, which don't write there. `evaluate` keeps what it measures
  of the codec alone in `source`'s folder `measured`, for the next experiment on it.

  Raises:
    ConfigError: `source` hasn't finished them, or `workdir` has ones of its own.
  """
  source, workdir = pathlib.Path(source), pathlib.Path(workdir)
  for name in SHARED:
    if stages.load_stage(source, name) is None:
      raise ConfigError(f"codec_from: {name!r} is not complete in {source}")
    link, target = workdir / name, (source / name).resolve()
    if link.resolve() == target:
      continue
    if link.exists() or link.is_symlink():
      raise ConfigError(f"codec_from: {workdir} has a {name!r} of its own; remove it")
    workdir.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(target, workdir.resolve()))
