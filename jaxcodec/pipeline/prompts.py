"""What is to be generated: held-out utterances, each with a voice prompt and a seed."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from jaxcodec.build.slm import reads_text
from jaxcodec.data.source import DataError
from jaxcodec.data.split import PARTS
from jaxcodec.data.text import wrapped
from jaxcodec.data.token_store import TokenSource
from jaxcodec.inference.slm import FillJob, SpeakJob
from jaxcodec.pipeline.experiment import Experiment, safe_name


class Job(NamedTuple):
  """An utterance to generate.

  Attributes:
    row: what the index says of it whatever comes out.
    wav: name of its file.
    samples: of the original, where what is generated has its length; else None.
    job: for the language model.
  """

  row: dict[str, Any]
  wav: str
  samples: int | None
  job: SpeakJob | FillJob


def make_jobs(experiment: Experiment) -> list[Job]:
  """A job for each of the first test utterances; where texts are read, that have one.

  The prompt is another utterance of the speaker, held out if there is one. A model
  that reads texts is given all of it, with its text: the longest one of at most
  `generate.prompt_seconds`, or else the shortest. Otherwise it is the beginning of the
  longest one.

  Raises:
    DataError: none of them has a text.
  """
  config, spec = experiment.config, experiment.spec
  settings, text = config["generate"], reads_text(config)
  folder = experiment.done["tokens"].folder
  parts = {part: TokenSource(folder / f"{part}.array_record") for part in PARTS}
  most = int(settings["prompt_seconds"] * spec.frame_rate)
  test, usable = parts["test"], _usable(parts["test"], text)
  if not usable:
    raise DataError(f"{test.path}: none of its records has a text to speak")
  make, jobs = (_speak_job if text else _fill_job), []
  for index in usable[: settings["num_utterances"]]:
    record = test[index]
    prompt = _prompt(parts, record, most, text)
    row = _row(experiment, record, prompt)
    samples = None if text else record["samples"]
    wav = f"{safe_name(record['id'])}.wav"
    jobs.append(Job(row, wav, samples, make(record, prompt, row["seed"])))
  return jobs


def _usable(source, text):
  labels = enumerate(source.labels)
  return [index for index, label in labels if not text or "symbols" in label]


def _prompt(parts, record, most, text) -> dict[str, Any] | None:
  for names in (("valid", "test"), ("train",)):
    found = [
      (label["frames"], label["id"], parts[name], index)
      for name in names
      for index in _usable(parts[name], text)
      if (label := parts[name].labels[index])["speaker"] == record["speaker"]
      and label["id"] != record["id"]
    ]
    if found:
      *_, source, index = _chosen(found, most) if text else max(found, key=_length)
      return source[index] if text else _cut(source[index], most)
  return None


def _cut(record, frames):
  arrays = {name: record[name][:frames] for name in ("codes_TxK", "semantic_T")}
  return {**record, **arrays}


def _chosen(found, most):
  fitting = [one for one in found if one[0] <= most]
  return max(fitting, key=_length) if fitting else min(found, key=_length)


def _length(one):
  return one[:2]  # and by id where they are equally long


def _row(experiment, record, prompt):
  seed = hashlib.sha256(f"{experiment.seed}:{record['id']}".encode()).digest()
  frames = len(prompt["codes_TxK"]) if prompt else 0
  return {
    **{name: record[name] for name in ("id", "speaker", "text")},
    "seed": int.from_bytes(seed[:4]) & 0x7FFFFFFF,
    "prompt_id": prompt["id"] if prompt else None,
    "prompt_seconds": frames / experiment.spec.frame_rate,
  }


def _speak_job(record, prompt, seed):
  if not prompt:
    return SpeakJob(wrapped(record["text_S"]), None, seed)
  text_S = wrapped(prompt["text_S"], record["text_S"])
  return SpeakJob(text_S, prompt["codes_TxK"], seed)


def _fill_job(record, prompt, seed):
  if not prompt:
    return FillJob(record["semantic_T"], None, seed)
  semantic_T = np.concatenate([prompt["semantic_T"], record["semantic_T"]])
  return FillJob(semantic_T, prompt["codes_TxK"], seed)
