"""Reads which utterances to generate, each behind which prompt, from a list.

Protocols publish such lists, so that all systems speak the same sentences in the voices
of the same recordings.
"""

import pathlib

from jaxcodec.build.fields import ConfigError
from jaxcodec.data.source import DataError
from jaxcodec.data.sources.audio_file import read_text
from jaxcodec.pipeline.experiment import Experiment


def read_prompt_list(experiment: Experiment) -> dict[str, str]:
  """Returns the prompts' ids by those of the utterances, in the list's order.

  A line has the id of a test utterance, then that of its prompt, which may be any other
  recording of a part; empty lines and those that begin with # don't count.

  Returns:
    Nothing where `generate.prompts` is None, or missing, as in earlier configs.

  Raises:
    ConfigError: naming the line, or the file that cannot be read.
  """
  name = experiment.config["generate"].get("prompts")
  if name is None:
    return {}
  try:
    lines = read_text(pathlib.Path(name).expanduser()).split("\n")
  except DataError as error:
    raise ConfigError(f"generate.prompts: {error}") from error
  utterances = experiment.source.utterances
  test = {utterances[index].id for index in experiment.split["test"]}
  everyone = {
    utterances[index].id: utterances[index].text
    for part in experiment.split.values()
    for index in part
  }
  needs_text = experiment.language_model.condition.needs_text
  pairs = {}
  for number, line in enumerate(lines, 1):
    if not line.strip() or line.startswith("#"):
      continue
    if fault := _add(pairs, line.split(), everyone, test, needs_text):
      raise ConfigError(f"generate.prompts: {name}:{number}: {fault}")
  if not pairs:
    raise ConfigError(f"generate.prompts: {name} has no line")
  return pairs


def _add(pairs, fields, everyone, test, needs_text) -> str | None:
  """Adds a line's pair; returns what is wrong with it instead."""
  if len(fields) != 2:
    return f"expected two ids, an utterance's and its prompt's, got {len(fields)}"
  utterance, prompt = fields
  if utterance not in test:
    return f"{utterance!r} is not in the test part of the data"
  if prompt not in everyone:
    return f"there is no recording {prompt!r} to be the prompt"
  for name in fields if needs_text else ():
    if not everyone[name]:
      return f"{name!r} has no text, which the language model needs"
  if prompt == utterance or utterance in pairs:
    return f"{utterance!r} is its own prompt, or has one already"
  pairs[utterance] = prompt
  return None
