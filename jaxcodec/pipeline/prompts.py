"""What is to be generated: held-out utterances, each with a voice prompt and a seed."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcodec.build.conditions import Candidate, Condition, Record
from jaxcodec.data.source import DataError
from jaxcodec.data.split import PARTS
from jaxcodec.data.token_store import TokenSource
from jaxcodec.pipeline.experiment import Experiment, safe_name


class Job(NamedTuple):
  """An utterance to generate.

  Attributes:
    row: what the index says of it whatever comes out.
    wav: name of its file.
    samples: of the original, where what is generated has its length; else None.
    job: for the language model; see `Condition.make_job`.
  """

  row: dict[str, Any]
  wav: str
  samples: int | None
  job: Any


def make_jobs(experiment: Experiment) -> list[Job]:
  """Makes a job for each of the first test utterances that the model can say.

  The prompt is another utterance of the speaker, held out if there is one, or a part of
  it: of those there are, the model's `Condition` chooses.

  Raises:
    DataError: the model speaks texts and none of them has one.
  """
  settings = experiment.config["generate"]
  condition = experiment.language_model.condition
  folder = experiment.done["tokens"].folder
  parts = {part: TokenSource(folder / f"{part}.array_record") for part in PARTS}
  most = int(settings["prompt_seconds"] * experiment.spec.frame_rate)
  test, usable = parts["test"], _usable(parts["test"], condition)
  if not usable:
    raise DataError(f"{test.path}: none of its records has a text to speak")
  jobs = []
  for index in usable[: settings["num_utterances"]]:
    record = test[index]
    prompt = _prompt(parts, record, most, condition)
    row = _row(experiment, record, prompt)
    jobs.append(
      Job(
        row,
        wav=f"{safe_name(record['id'])}.wav",
        samples=condition.num_samples(record),
        job=condition.make_job(record, prompt, row["seed"]),
      )
    )
  return jobs


def _usable(source: TokenSource, condition: Condition) -> list[int]:
  labels = enumerate(source.labels)
  return [i for i, label in labels if not condition.needs_text or "symbols" in label]


def _prompt(
  parts: Mapping[str, TokenSource], record: Record, most: int, condition: Condition
) -> Record | None:
  """The prompt's record; None if the speaker has no other utterance."""
  for names in (("valid", "test"), ("train",)):
    found = [
      Candidate(label["frames"], label["id"], parts[name], index)
      for name in names
      for index in _usable(parts[name], condition)
      if (label := parts[name].labels[index])["speaker"] == record["speaker"]
      and label["id"] != record["id"]
    ]
    if found:
      chosen = condition.choose_prompt(found, most)
      return condition.cut_prompt(chosen.source[chosen.index], most)
  return None


def _row(experiment, record, prompt):
  seed = hashlib.sha256(f"{experiment.seed}:{record['id']}".encode()).digest()
  frames = len(prompt["codes_TxK"]) if prompt else 0
  return {
    **{name: record[name] for name in ("id", "speaker", "text")},
    "seed": int.from_bytes(seed[:4]) & 0x7FFFFFFF,
    "prompt_id": prompt["id"] if prompt else None,
    "prompt_seconds": frames / experiment.spec.frame_rate,
  }
