"""Speaks to wav files, a few jobs in memory at a time."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jaxcodec.api.speech_model import Speech, SpeechModel
from jaxcodec.cli.speech_table import SpeechJob
from jaxcodec.progress import Progress

# Jobs that are prepared together; the batches of like length come from these.
_CHUNK = 64


def speak_files(
  model: SpeechModel,
  jobs: Sequence[SpeechJob],
  *,
  on_error: str = "raise",
  note: contextlib.AbstractContextManager[Any] | None = None,
  done: Callable[[Sequence[dict[str, Any]]], None] = lambda rows: None,
  **sampling: Any,
) -> list[dict[str, Any]]:
  """Writes a wav file for each job at which the model speaks anything.

  Checks every job, reading its recordings, before it speaks the first. Where the model
  speaks nothing, a file that was at that place is removed.

  Args:
    model: speaks.
    jobs: what to say, and where.
    on_error: `raise` at the first bad job, or `skip` it.
    note: surrounds the speaking, once all jobs are checked.
    done: called with all rows so far whenever some jobs are done.
    sampling: see `SpeechModel.run`.

  Returns:
    For each job its `out`, `seed`, `seconds`, whether it `ended` and its `problem`;
    those that were skipped, first, also have `skipped`.

  Raises:
    ValueError: naming the job, or none of them can be spoken.
  """
  model.sampler_with(**sampling)
  good, rows, failure = [], [], None
  for job in jobs:
    try:
      model.prepare([job.request], [job.name])
      good.append(job)
    except (ValueError, OSError) as error:
      if on_error == "raise":
        raise
      rows.append(_skipped(job, error))
      failure = error
  if rows and not good:
    raise ValueError(f"none of {len(rows)} can be spoken: {failure}")
  progress = Progress(len(good), "speak", unit="clips")
  with note or contextlib.nullcontext(), progress:
    for start in range(0, len(good), _CHUNK):
      chunk = good[start : start + _CHUNK]
      for job, speech in _speak(model, chunk, sampling, on_error):
        rows.append(_save(job, speech))
        progress.update()
      done(rows)
  return rows


def _save(job: SpeechJob, speech: Speech | Exception) -> dict[str, Any]:
  """Writes the wav file, if there is anything in it; returns the job's row."""
  if isinstance(speech, Exception):
    return _skipped(job, speech)
  if len(speech.audio_N):
    speech.save(job.target)
  else:
    job.target.unlink(missing_ok=True)
  return {
    "out": str(job.target),
    "seed": job.request.seed,
    "seconds": speech.seconds,
    "ended": speech.ended,
    "problem": speech.problem,
  }


def _skipped(job: SpeechJob, error: Exception) -> dict[str, Any]:
  row = {"out": str(job.target), "seed": job.request.seed, "seconds": 0.0}
  return {**row, "ended": False, "problem": str(error), "skipped": True}


def _speak(
  model: SpeechModel,
  jobs: Sequence[SpeechJob],
  sampling: dict[str, Any],
  on_error: str,
) -> Iterator[tuple[SpeechJob, Speech | Exception]]:
  """Yields what is spoken, or why it can't be, as where a prompt was taken away."""
  spoken: Sequence[Speech | Exception]
  try:
    spoken = _run(model, jobs, sampling)
  except (ValueError, OSError):
    if on_error == "raise":
      raise
    spoken = [_run_alone(model, job, sampling) for job in jobs]
  yield from zip(jobs, spoken, strict=True)


def _run(
  model: SpeechModel, jobs: Sequence[SpeechJob], sampling: dict[str, Any]
) -> list[Speech]:
  requests, names = [job.request for job in jobs], [job.name for job in jobs]
  return list(model.run(requests, names, **sampling))


def _run_alone(
  model: SpeechModel, job: SpeechJob, sampling: dict[str, Any]
) -> Speech | Exception:
  try:
    return _run(model, [job], sampling)[0]
  except (ValueError, OSError) as error:
    return error
