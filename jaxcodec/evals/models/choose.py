"""Finds the models that metrics run on, in an installed package or in a folder."""

import dataclasses
import importlib.util
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxcodec.build.fields import ConfigError
from jaxcodec.evals.metric import MetricAbsent

WEIGHTS = "model.safetensors or pytorch_model.bin"


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of model that a config can choose.

  Attributes:
    definition: how results describe it; `{name}` stands for the model's name.
    load: loads the model, given its `Choice` and the number of CPU threads.
    packages: its pip requirements.
    files: the files in a folder of this kind; "a or b" where either will do.
    architecture: the transformers class that the folder's `config.json` must name; None
      for a folder without one.
  """

  definition: str
  load: Callable[["Choice", int], Any]
  packages: tuple[str, ...] = ()
  files: tuple[str, ...] = ()
  architecture: str | None = None

  def matches(self, folder: pathlib.Path) -> bool:
    """Whether the folder holds a model of this kind, by its files."""
    for names in self.files:
      if not any((folder / name).is_file() for name in names.split(" or ")):
        return False
    return self.architecture in (None, *architectures(folder))


class Choice(NamedTuple):
  """The model that a config chose.

  Attributes:
    kind: of the model.
    name: of the model in results: the config's value, or the folder's name.
    folder: of the model; None if a package has it.
  """

  kind: Kind
  name: str
  folder: pathlib.Path | None

  @property
  def definition(self) -> str:
    """How results describe the model."""
    return self.kind.definition.format(name=self.name)

  def load(self, threads: int) -> Any:
    """Loads the model.

    Raises:
      MetricAbsent: a package is not installed.
      FileNotFoundError, ValueError: a file can't be used; names it.
    """
    return self.kind.load(self, threads)


def choose(
  field: str, model: str, named: Mapping[str, Kind], in_folders: Sequence[Kind]
) -> Choice:
  """Returns the model that a config field names, without reading its weights.

  Args:
    field: of the config, for the error.
    model: the field's value: one of `named`, or a folder's path.
    named: the kinds of models in packages, by name.
    in_folders: the kinds that a folder may hold; the first that matches is taken.

  Raises:
    ConfigError: the value is neither a name nor such a folder; says what was expected
      and what is there.
  """
  if model in named:
    return Choice(named[model], model, None)
  folder = pathlib.Path(model).expanduser()
  for kind in in_folders:
    if kind.matches(folder):
      return Choice(kind, folder.resolve().name, folder)
  names = ", ".join(map(repr, named))
  kinds = ", or ".join(_describe(kind) for kind in in_folders)
  raise ConfigError(
    f"{field}: expected {names}, or a folder with {kinds}; but {_contents_of(folder)}"
  )


def architectures(folder: pathlib.Path) -> tuple[str, ...]:
  """Returns the transformers classes in a folder's `config.json`; () without one."""
  try:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return tuple(config["architectures"])
  except (OSError, ValueError, KeyError, TypeError):
    return ()


def package_file(module: str, relative: str, requirement: str) -> pathlib.Path:
  """Finds a data file of an installed package, without importing the package.

  Raises:
    MetricAbsent: the package or the file is missing.
  """
  found = importlib.util.find_spec(module)
  for folder in (found and found.submodule_search_locations) or ():
    if (path := pathlib.Path(folder) / relative).exists():
      return path
  raise MetricAbsent(requirement)


def onnx_session(model: pathlib.Path | bytes, *, threads: int):
  """Returns an onnxruntime session on the CPU, of a model's file or its content."""
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = threads
  options.inter_op_num_threads = 1
  return onnxruntime.InferenceSession(
    model if isinstance(model, bytes) else str(model),
    options,
    providers=["CPUExecutionProvider"],
  )


def _describe(kind: Kind) -> str:
  """Returns a kind's files and architecture, in words."""
  files = ", ".join(kind.files)
  return f"{files} (of {kind.architecture})" if kind.architecture else files


def _contents_of(folder: pathlib.Path) -> str:
  if not folder.is_dir():
    return f"{folder} is not a folder"
  names = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
  said = " and ".join(architectures(folder))
  return f"{folder} holds {names}" + (f" (of {said})" if said else "")
