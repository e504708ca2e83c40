"""What is to be generated: held-out utterances, each with a voice prompt and a seed."""

import functools
import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from absl import logging

from jaxcodec.build.conditions import Candidate, Condition, Record
from jaxcodec.data import held_out
from jaxcodec.data.source import DataError
from jaxcodec.data.split import PARTS
from jaxcodec.data.token_store import TokenSource
from jaxcodec.pipeline.experiment import Experiment, safe_name
from jaxcodec.pipeline.prompt_list import read_prompt_list


class Job(NamedTuple):
  """An utterance to generate.

  Attributes:
    row: what the index says of it whatever comes out.
    wav: name of its file.
    samples: of the original, where what is generated has its length; else None.
    seconds: of the original and the prompt together.
    job: for the language model; see `Condition.make_job`.
  """

  row: dict[str, Any]
  wav: str
  samples: int | None
  seconds: float
  job: Any


def make_jobs(experiment: Experiment) -> list[Job]:
  """Makes a job for each of some test utterances that the model can say.

  They are those of `generate.min_seconds` to `max_seconds`; `list_left_out` has the
  others. With `generate.prompts` they are those of its list, which also names the
  prompts. Otherwise the prompt is another utterance of the speaker, held out if there
  is one, or a part of it: of those there are, the model's `Condition` chooses. A
  warning says if utterances with their prompts are longer than what the model was
  trained on.

  Raises:
    ConfigError: the list is bad.
    DataError: none of the utterances is as long, or the model speaks texts and none of
      them, or a prompt, has one.
  """
  settings = experiment.config["generate"]
  condition = experiment.language_model.condition
  parts = {part: _open(experiment, part) for part in PARTS}
  most = settings["prompt_seconds"]
  test, usable = parts["test"], _usable(parts["test"], condition)
  if not usable:
    raise DataError(f"{test.path}: none of its records has a text to speak")
  least, longest = bounds(settings)
  order = held_out.by_chance([test.labels[i]["id"] for i in usable])
  in_range = [
    index
    for index in (usable[place] for place in order)
    if least <= _duration(experiment, test, index) <= longest
  ]
  if not in_range:
    raise DataError(
      f"{test.path}: none of its {len(usable)} records has generate.min_seconds to"
      f" max_seconds, {least:g} to {longest:g} s"
    )
  jobs, listed = [], read_prompt_list(experiment)
  if listed:
    index_of = {test.labels[index]["id"]: index for index in in_range}
    in_range = [index_of[name] for name in listed if name in index_of]
    if not in_range:
      raise DataError(
        f"generate.prompts: none of its {len(listed)} utterances has"
        f" generate.min_seconds to max_seconds, {least:g} to {longest:g} s, and what"
        " the model speaks"
      )
  for index in in_range[: settings["num_utterances"]]:
    record = test[index]
    found = _candidates(experiment, parts, record, condition, listed.get(record["id"]))
    prompt = None
    if found:
      chosen = condition.choose_prompt(found, most)
      frames = int(most * experiment.spec.frame_rate)
      prompt = condition.cut_prompt(chosen.source[chosen.index], frames)
    row = _row(experiment, record, prompt)
    jobs.append(
      Job(
        row,
        wav=f"{safe_name(record['id'])}.wav",
        samples=condition.num_samples(record),
        seconds=row["prompt_seconds"] + _duration(experiment, test, index),
        job=condition.make_job(record, prompt, row["seed"]),
      )
    )
  _warn_of_lengths(experiment, jobs)
  return jobs


def list_left_out(experiment: Experiment) -> list[dict[str, Any]]:
  """Returns the test utterances that aren't generated for their length, and why.

  With `generate.prompts` they are those of its list, also those without codes or a text
  that the model speaks.
  """
  test, listed = _open(experiment, "test"), read_prompt_list(experiment)
  least, longest = bounds(experiment.config["generate"])
  usable = {
    test.labels[index]["id"]: index
    for index in _usable(test, experiment.language_model.condition)
  }
  rows = [
    {"id": name, "seconds": None, "reason": "no codes, or no text that is spoken"}
    for name in listed
    if name not in usable
  ]
  for name, index in usable.items():
    if listed and name not in listed:
      continue
    seconds = _duration(experiment, test, index)
    if not least <= seconds <= longest:
      bound = "min_seconds" if seconds < least else "max_seconds"
      how = "shorter" if seconds < least else "longer"
      reason = f"{how} than generate.{bound}"
      rows.append({"id": name, "seconds": round(seconds, 3), "reason": reason})
  return rows


def _open(experiment: Experiment, part: str) -> TokenSource:
  return TokenSource(experiment.done["tokens"].folder / f"{part}.array_record")


def bounds(settings: Mapping[str, Any]) -> tuple[float, float]:
  """Returns the least and most seconds; configs of earlier versions have no bounds."""
  return settings.get("min_seconds", 0.0), settings.get("max_seconds", math.inf)


def _duration(experiment: Experiment, source: TokenSource, index: int) -> float:
  """Returns the recording's length, seconds, by which all codecs choose alike."""
  label, spec = source.labels[index], experiment.spec
  samples = label.get("samples", label["frames"] * spec.hop)  # of earlier versions
  return samples / spec.sample_rate


def _warn_of_lengths(experiment: Experiment, jobs: list[Job]) -> None:
  """Warns if the model is asked for more than it has seen in training."""
  train = experiment.config["slm_train"]
  seen = train.get("max_seconds", train.get("crop_seconds"))
  seconds = [job.seconds for job in jobs]
  if seen is not None and (longer := sum(one > seen for one in seconds)):
    logging.warning(
      "LongerThanTrained: %d of %d utterances with their prompts are longer than the"
      " %g s that the language model was trained on, up to %.1f s;"
      " generate.max_seconds leaves longer ones out",
      longer,
      len(jobs),
      seen,
      max(seconds),
    )


def _usable(source: TokenSource, condition: Condition) -> list[int]:
  labels = enumerate(source.labels)
  return [i for i, label in labels if not condition.needs_text or "symbols" in label]


def _candidates(
  experiment: Experiment,
  parts: Mapping[str, TokenSource],
  record: Record,
  condition: Condition,
  listed: str | None,
) -> list[Candidate]:
  """Returns the prompts to choose from: the listed one, or others of the speaker."""

  seconds = functools.partial(_duration, experiment)

  def fits(label):
    if listed is not None:
      return label["id"] == listed
    return label["speaker"] == record["speaker"] and label["id"] != record["id"]

  for names in (("valid", "test"), ("train",)):
    found = [
      Candidate(seconds(parts[name], index), label["id"], parts[name], index)
      for name in names
      for index in _usable(parts[name], condition)
      if fits(label := parts[name].labels[index])
    ]
    if found:
      return found
  if listed is not None:
    raise DataError(f"generate.prompts: the prompt {listed!r} has no text, or no codes")
  return []


def _row(experiment, record, prompt):
  seed = hashlib.sha256(f"{experiment.seed}:{record['id']}".encode()).digest()
  frames = len(prompt["codes_TxK"]) if prompt else 0
  return {
    **{name: record[name] for name in ("id", "speaker", "text")},
    "seed": int.from_bytes(seed[:4]) & 0x7FFFFFFF,
    "prompt_id": prompt["id"] if prompt else None,
    "prompt_seconds": frames / experiment.spec.frame_rate,
  }
