"""The generate stage: the language model speaks held-out utterances.

A model of semantic tokens is given those of a prompt by the same speaker, then the
utterance's own ("oracle" tokens, as in the study). A model of texts is given the two
texts. Both are given the prompt's codes.
"""

import io
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxcodec import files, weights
from jaxcodec.build.conditions import VOCABULARY
from jaxcodec.build.slm import make_slm
from jaxcodec.data.audio.files import write_wav
from jaxcodec.data.text import Vocabulary
from jaxcodec.pipeline.experiment import PARAMS, Experiment
from jaxcodec.pipeline.prompts import Job, list_left_out, make_jobs
from jaxcodec.progress import Progress
from jaxcodec.types import SpeechLanguageModel

INDEX, ALIGNMENT, LEFT_OUT = "index.jsonl", "alignment.json", "skipped.json"


def generate_all(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Writes a wav file for each of the first test utterances, and an index.

  A row of the index says whether its utterance ended by itself and how many frames it
  has; one without frames has no wav file. Of the first one the attention over its text
  is written, if the model is AR + NAR. Each utterance has a random key of its own,
  so it does not depend on the others; what an interrupted run wrote is kept.
  `skipped.json` lists the test utterances that are too short or too long.
  """
  jobs = make_jobs(experiment)
  rows = _read_index(folder)
  todo = [job for job in jobs if job.row["id"] not in rows]
  if todo:
    _generate(experiment, folder, todo, jobs, rows)
  left_out = list_left_out(experiment)
  if left_out:
    logging.info("%d test utterances are left out, see %s", len(left_out), LEFT_OUT)
  files.write_json(folder / LEFT_OUT, left_out)
  wavs = list(filter(None, (rows[job.row["id"]]["wav"] for job in jobs)))
  aligned = [ALIGNMENT] if (folder / ALIGNMENT).exists() else []
  return [INDEX, LEFT_OUT, *wavs, *map(codes_file, wavs), *aligned]


def codes_file(wav: str) -> str:
  """Returns the name of the file with the codes that were spoken in a wav file."""
  return f"{wav.removesuffix('.wav')}.npy"


def _read_index(folder) -> dict[str, dict[str, Any]]:
  """Returns the rows of the index by id, but for those whose files are missing."""
  if not (folder / INDEX).exists():
    return {}
  rows = map(json.loads, (folder / INDEX).read_text().splitlines())
  return {row["id"]: row for row in rows if _is_whole(folder, row["wav"])}


def _is_whole(folder, wav: str | None) -> bool:
  return wav is None or all((folder / f).exists() for f in (wav, codes_file(wav)))


def _generate(experiment, folder, todo, jobs, rows):
  with Progress(len(todo), "generate", unit="clips") as progress:
    model, params = _trained_model(experiment)
    for job, codes_TxK, ended in _generate_codes(experiment, todo, model, params):
      if job.row["id"] == jobs[0].row["id"] and len(codes_TxK):
        _write_alignment(experiment, folder, job, (model, params, codes_TxK))
      rows[job.row["id"]] = {
        **job.row,
        "frames": len(codes_TxK),
        "ended": ended,
        "wav": _write(experiment, folder, job, codes_TxK),
      }
      known = [rows[job.row["id"]] for job in jobs if job.row["id"] in rows]
      lines = [json.dumps(row) + "\n" for row in known]
      files.write_text(folder / INDEX, "".join(lines))
      progress.update()


def _generate_codes(
  experiment: Experiment, jobs: Sequence[Job], model: SpeechLanguageModel, params: Any
) -> Iterator[tuple[Job, np.ndarray, bool]]:
  """Yields each job, its codes (T, K), and whether it ended by itself."""
  for index, codes_TxK, ended in experiment.language_model.condition.run(
    model,
    params,
    [job.job for job in jobs],
    experiment.models.sampler,
    experiment.config["generate"]["batch_size"],
  ):
    yield jobs[index], codes_TxK, ended


def _trained_model(experiment: Experiment) -> tuple[SpeechLanguageModel, Any]:
  """Returns the language model and its parameters.

  A model of texts knows by its vocabulary how fast its training texts were spoken.
  """
  folder = experiment.done["slm"].folder
  path = folder / VOCABULARY
  vocabulary = Vocabulary.load(path) if path.exists() else None
  model = make_slm(experiment.config, experiment.spec, vocabulary)
  return model, jax.device_put(weights.load_params(folder / PARAMS)["params"])


def _write_alignment(experiment, folder, job, spoken) -> None:
  """Writes which symbols the frames of an utterance and its prompt were spoken from."""
  model, params, codes_TxK = spoken
  condition = experiment.language_model.condition
  found = condition.align(model, params, job.job, codes_TxK)
  if found is None:
    return
  weight_TxS, focus = found
  symbols = experiment.vocabulary.decode(job.job.text_S)
  content = {
    "id": job.row["id"],
    "focus": focus,
    "frame_rate": experiment.spec.frame_rate,
    "prompt_frames": len(weight_TxS) - len(codes_TxK),
    "symbols": ["", *symbols, ""],
    "percent_TxS": np.rint(100 * weight_TxS).astype(int).tolist(),
  }
  files.write_json(folder / ALIGNMENT, content)


def _write(experiment, folder, job, codes_TxK) -> str | None:
  """Writes a job's codes and audio; returns the wav's name, None without codes."""
  if not len(codes_TxK):
    return None
  buffer = io.BytesIO()
  np.save(buffer, codes_TxK.astype(np.int32))
  files.write_bytes(folder / codes_file(job.wav), buffer.getvalue())
  (audio_N,) = experiment.codec.decode([codes_TxK])
  write_wav(folder / job.wav, audio_N[: job.samples], experiment.spec.sample_rate)
  return job.wav
