"""Whether the optional packages that an experiment runs on are installed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxcodec.build.codec import make_codec
from jaxcodec.build.fields import ConfigError
from jaxcodec.data import extras
from jaxcodec.pipeline import evaluate

_OF_SOURCES = {"embedded": ("hibari-tts",), "tfds": ("tensorflow-datasets",)}
_OF_FRONT_ENDS = {
  "hibari": extras.EXTRAS["text"],
  "espeak": extras.EXTRAS["espeak"],
  "dictionary": extras.EXTRAS["dictionary"],
}


def check_packages(config: Mapping[str, Any], wanted: Sequence[str]) -> None:
  """Looks for all of them at once, before data are read or spoken.

  Args:
    config: plain nested dicts.
    wanted: the stages that will run.

  Raises:
    ConfigError: names what is missing and the line that installs it.
  """
  needed = list(_OF_SOURCES.get(config["data"]["source"], ()))
  if "text" in config:
    # Whatever spells the words, wetext speaks out the numbers.
    needed += _OF_FRONT_ENDS.get(config["text"].get("front_end"), ("wetext",))
  if "evaluate" in wanted:
    needed += _of_metrics(config)
  if "report" in wanted:
    needed += extras.EXTRAS["report"]
  if absent := extras.missing(needed):
    raise ConfigError(
      f"what this config needs is not installed ({', '.join(absent)}):"
      f" {extras.install_line(absent)}"
    )


def _of_metrics(config: Mapping[str, Any]) -> Iterable[str]:
  """Returns the packages of the metrics; of a config that is wrong, none."""
  try:
    spec = make_codec(config).spec
    for name in ("reconstruction", "generation"):
      for metric in evaluate.metrics_of_set(config, spec, name):
        yield from metric.distributions
  except (ValueError, KeyError, TypeError):
    return  # the checks that follow name the field
