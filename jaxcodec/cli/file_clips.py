"""Paired files as clips to measure."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxcodec.cli.paired_files import Checked, Recording, some
from jaxcodec.cli.recording_parts import PartReader
from jaxcodec.cli.scanning import Failures
from jaxcodec.data.source import DataError
from jaxcodec.data.sources import checked as sources
from jaxcodec.evals import audio
from jaxcodec.evals.delay import MAX_DELAY_S, find_delay
from jaxcodec.evals.evaluate import ground_truth
from jaxcodec.evals.metric import EvalClip

# The sets of results.json that files can be.
RECONSTRUCTION, GENERATION = "reconstruction", "generation"
# The kind of sound file that a set's are.
KINDS = {RECONSTRUCTION: "reconstruction", GENERATION: "generated"}


class Clips(Sequence[EvalClip]):
  """Clips that are read when they are asked for, since all may not fit in memory."""

  def __init__(self, count: int, read: Callable[[int], EvalClip]):
    self._count, self._read = count, read

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, index):  # type: ignore[no-untyped-def]
    if not 0 <= index < self._count:
      raise IndexError(index)
    return self._read(index)


class FileClips:
  """Reads recordings as clips at one sample rate.

  References and prompts are resampled like the recordings of an experiment, generated
  audio like that of Opus beside it, so that the same audio has the same measures.

  Args:
    recordings: their files were read through before.
    measured_as: RECONSTRUCTION or GENERATION.
    sample_rate: Hz.
    wavs: by index, see `EvalClip.wavs`.
    on_error: whether to `raise` where a file can't be read again, or to `skip` it: its
      clip has no values then.
  """

  def __init__(
    self,
    recordings: Sequence[Recording],
    measured_as: str,
    sample_rate: int,
    wavs: Callable[[int], dict[str, str]],
    on_error: str,
  ):
    self._recordings, self._set, self._rate = recordings, measured_as, sample_rate
    self._wavs, self._parts = wavs, PartReader()
    self.failures = Failures(on_error)

  def generated(self) -> Clips:
    """Returns the clips of the generated files, with the delay of those in time."""

    def read(index: int) -> EvalClip:
      clip = self._clip(index)
      if self._set == GENERATION or clip.reference is None:
        return clip
      delay = find_delay(clip.reference, clip.audio, self._rate)
      return dataclasses.replace(clip, delay=delay)

    return Clips(len(self._recordings), read)

  def originals(self) -> Clips:
    """Returns the clips with their references as audio."""

    def read(index: int) -> EvalClip:
      clip = self._clip(index)
      return clip if clip.failed else ground_truth([clip])[0]

    return Clips(len(self._recordings), read)

  def _clip(self, index: int) -> EvalClip:
    one = self._recordings[index]
    nothing = EvalClip(
      id=one.id,
      speaker=one.speaker,
      text=one.text,
      sample_rate=self._rate,
      audio=np.zeros(0, np.float32),
      failed=f"{one.generated}: it or its counterparts changed since they were checked",
    )

    def read() -> EvalClip:
      audio_N, rate = self._parts.read(one.generated, one.part)
      return dataclasses.replace(
        nothing,
        audio=audio.resample(audio_N, rate, self._rate),
        reference=self._recorded(one.reference, one.part),
        prompt=None if one.prompt is None else self._recorded(one.prompt),
        failed=None,
        wavs=self._wavs(index),
      )

    return self.failures.attempt(one.generated, read, nothing)

  def _recorded(self, path, part=None):  # type: ignore[no-untyped-def]
    return sources.resample(*self._parts.read(path, part), self._rate)


def choose_rate(checked: Checked, wanted: int | None) -> int:
  """Returns the wanted sample rate, or that of all generated files, Hz.

  Raises:
    DataError: they have several.
  """
  if wanted is not None:
    return wanted
  found = sorted({checked.infos[r.generated].sample_rate for r in checked.recordings})
  if len(found) > 1:
    raise DataError(
      f"--generated: files have {some([f'{rate} Hz' for rate in found])}; say by"
      " --sample-rate at which to measure all"
    )
  return found[0]


def guess_set(checked: Checked) -> str:
  """Tells by the lengths what the files are.

  As half of the files or more are about as long as their references, as coded ones are,
  all are a reconstruction.
  """
  most = audio.MAX_LENGTH_DIFFERENCE_S + MAX_DELAY_S
  alike = 0
  for one in checked.recordings:
    infos = (checked.infos[path] for path in (one.generated, one.reference))
    seconds = [info.num_samples / info.sample_rate for info in infos]
    alike += abs(seconds[0] - seconds[1]) <= most
  return RECONSTRUCTION if 2 * alike >= len(checked.recordings) else GENERATION
