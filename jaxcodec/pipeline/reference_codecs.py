"""The other codecs that an experiment's codec is measured beside, on the same clips."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxcodec.build.fields import ConfigError
from jaxcodec.evals import lyra, mdct_kmeans, opus
from jaxcodec.evals.evaluate import ground_truth
from jaxcodec.evals.metric import EvalClip, MetricAbsent
from jaxcodec.pipeline import kept_measures, yardstick
from jaxcodec.pipeline.experiment import Experiment


class References(NamedTuple):
  """Sets of results.json.

  Attributes:
    sets: by name, functions that code the clips.
    absent: by the name of a codec that can't run here, the line that installs it.
    models: sha256 of weights that aren't the experiment's, by name.
  """

  sets: dict[str, Callable[[], list[EvalClip]]]
  absent: dict[str, str]
  models: dict[str, str]


def check(experiment: Experiment) -> None:
  """Raises ConfigError where a codec that the config asks for couldn't run."""
  settings, bitrate = experiment.config["evaluate"], experiment.spec.bitrate
  if settings["opus"] and bitrate < opus.MIN_BITRATE:
    raise ConfigError(
      f"evaluate.opus: Opus takes {opus.MIN_BITRATE} bit/s or more, the codec has"
      f" {bitrate:g}"
    )
  if folder := settings.get("lyra"):
    try:
      lyra.check_folder(folder)
    except FileNotFoundError as error:
      raise ConfigError(f"evaluate.lyra: {error}") from error


def make_sets(experiment: Experiment, clips: list[EvalClip]) -> References:
  """Makes the sets that `config.evaluate` asks for.

  Opus is asked for the codec's bitrate and for twice that; Lyra has three bitrates of
  its own; MDCT with k-means has the codec's.
  """
  settings, found = experiment.config["evaluate"], References({}, {}, {})
  if settings["opus"] and _is_installed(opus, "opus", found):
    for name, times in (("opus", 1), ("opus_double", 2)):
      bitrate = times * experiment.spec.bitrate
      found.sets[name] = functools.partial(opus.opus_clips, clips, bitrate)
  # Configs of earlier revisions lack the field.
  folder = settings.get("lyra")
  if folder and _is_installed(lyra, "lyra", found):
    found.models.update(lyra.checksums(folder))
    for name, bits in lyra.FRAME_BITS.items():
      found.sets[name] = functools.partial(lyra.lyra_clips, clips, folder, bits)
  if yardstick.wanted(experiment):
    make = functools.partial(yardstick.clips, experiment, clips)
    found.sets[mdct_kmeans.NAME] = make
  return found


def content(experiment: Experiment, clips: list[EvalClip]) -> dict[str, Any]:
  """Returns plain data that all sets of `make_sets` follow from, but for weights."""
  return {
    "originals": kept_measures.digest(ground_truth(clips)),
    "mdct_kmeans": yardstick.inputs(experiment),  # which has the bitrate, too
  }


def _is_installed(codec, name, found) -> bool:
  try:
    codec.load()
  except MetricAbsent as absent:
    found.absent[name] = str(absent)
    return False
  return True
