"""Speaks to wav files, a few jobs in memory at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

from jaxcodec.api.speech_model import Speech, SpeechModel
from jaxcodec.cli.speech_table import SpeechJob
from jaxcodec.progress import Progress

# Jobs that are prepared together; the batches of like length come from these.
_CHUNK = 64


def speak_files(
  model: SpeechModel, jobs: Sequence[SpeechJob], **sampling: Any
) -> list[dict[str, Any]]:
  """Writes a wav file for each job at which the model speaks anything.

  Checks every job, reading its recordings, before it speaks the first. Where the model
  speaks nothing, a file that was at that place is removed.

  Args:
    model: speaks.
    jobs: what to say, and where.
    sampling: see `SpeechModel.run`.

  Returns:
    For each job its `out`, `seed`, `seconds`, whether it `ended` and its `problem`.

  Raises:
    ValueError: naming the job.
  """
  model.sampler_with(**sampling)
  for job in jobs:
    model.prepare([job.request], [job.name])
  rows = []
  with Progress(len(jobs), "speak", unit="clips") as progress:
    for job, speech in _speak(model, jobs, sampling):
      if len(speech.audio_N):
        speech.save(job.target)
      else:
        job.target.unlink(missing_ok=True)
      rows.append(
        {
          "out": str(job.target),
          "seed": job.request.seed,
          "seconds": speech.seconds,
          "ended": speech.ended,
          "problem": speech.problem,
        }
      )
      progress.update()
  return rows


def _speak(
  model: SpeechModel, jobs: Sequence[SpeechJob], sampling: dict[str, Any]
) -> Iterator[tuple[SpeechJob, Speech]]:
  for start in range(0, len(jobs), _CHUNK):
    chunk = jobs[start : start + _CHUNK]
    requests, names = [job.request for job in chunk], [job.name for job in chunk]
    yield from zip(chunk, model.run(requests, names, **sampling), strict=True)
