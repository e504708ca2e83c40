"""Where measures that other experiments need too are kept, and what they depend on."""

import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxcodec.build.fields import ConfigError
from jaxcodec.evals.metric import EvalClip
from jaxcodec.pipeline.experiment import Experiment

_NAME = "measured"


def keep_measures_in(folder: str | os.PathLike, workdir: str | os.PathLike) -> None:
  """Links `folder`, which is made if it is not there, into `workdir`.

  The experiments that are given one folder measure what they share once: their codec,
  the originals, Opus, and MDCT with k-means.

  Raises:
    ConfigError: `folder` is a file, or the work directory's own, or `workdir` keeps its
      measures elsewhere.
  """
  target, link = pathlib.Path(folder).absolute(), pathlib.Path(workdir) / _NAME
  if target == link.absolute():
    raise ConfigError(f"keep_measures_in: {folder} is where {workdir} has its own")
  if target.exists() and not target.is_dir():
    raise ConfigError(f"keep_measures_in: expected a folder, {folder} is a file")
  target.mkdir(parents=True, exist_ok=True)
  target = target.resolve()
  if link.is_symlink() and link.resolve() == target:
    return
  if link.exists() or link.is_symlink():
    raise ConfigError(
      f"keep_measures_in: {link} is there and isn't {folder}; remove it, or leave the"
      " option out"
    )
  link.parent.mkdir(parents=True, exist_ok=True)
  link.symlink_to(os.path.relpath(target, link.parent.resolve()))


def folder_of(experiment: Experiment) -> pathlib.Path | None:
  """Returns the folder of what the experiment shares, None if it shares nothing.

  That is the one it was given, or else the one beside another experiment's codec.
  """
  if (given := experiment.workdir / _NAME).is_symlink():
    return given
  beside_codec = experiment.done["codec"].folder.resolve().with_name(_NAME)
  own = beside_codec.parent == experiment.workdir.resolve()
  return None if own else beside_codec


def own_folder(experiment: Experiment) -> pathlib.Path:
  """Returns the folder of what is kept for the experiment's own next start."""
  return experiment.workdir / _NAME


def digest(clips: Sequence[EvalClip]) -> str:
  """Returns a hash of all that clips' measures and rows depend on."""
  found = hashlib.sha256()
  for clip in clips:
    told = (clip.id, clip.speaker, clip.text, clip.sample_rate, clip.bits)
    found.update(repr((*told, clip.delay, clip.failed, dict(clip.wavs))).encode())
    for array in (clip.audio, clip.reference, clip.prompt, clip.codes_TxK):
      found.update(repr(array is not None and (array.shape, array.dtype)).encode())
      if array is not None:
        found.update(np.ascontiguousarray(array).tobytes())
  return found.hexdigest()
