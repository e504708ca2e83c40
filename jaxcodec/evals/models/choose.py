"""Finding the models that metrics run on: in an installed package or at a path."""

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
  """A kind of model that a config may name.

  Attributes:
    definition: what results say that it is; `{name}` is the one that was named.
    load: loads it, given its `Choice` and the CPU threads.
    packages: pip requirements.
    files: what a folder of this kind holds; "a or b" where either will do.
    architecture: the class of transformers that `config.json` names, if it does.
  """

  definition: str
  load: Callable[["Choice", int], Any]
  packages: tuple[str, ...] = ()
  files: tuple[str, ...] = ()
  architecture: str | None = None

  def lies_in(self, folder: pathlib.Path) -> bool:
    """Whether the folder is of this kind, by what it holds."""
    for names in self.files:
      if not any((folder / name).is_file() for name in names.split(" or ")):
        return False
    return self.architecture in (None, *architectures(folder))


class Choice(NamedTuple):
  """What a field of a config chose.

  Attributes:
    kind: of the model.
    name: by which results know it: the field's, or the folder's.
    folder: where it lies; None for a package's.
  """

  kind: Kind
  name: str
  folder: pathlib.Path | None

  @property
  def definition(self) -> str:
    """What results say that the model is."""
    return self.kind.definition.format(name=self.name)

  def load(self, threads: int) -> Any:
    """The model, ready to use.

    Raises:
      MetricAbsent: a package is not installed.
      FileNotFoundError, ValueError: naming a file that can't be used.
    """
    return self.kind.load(self, threads)


def choose(
  field: str, model: str, named: Mapping[str, Kind], in_folders: Sequence[Kind]
) -> Choice:
  """The model that a field names; its weights are not read yet.

  Args:
    field: of the config, for the error.
    model: its value: one of the names, or a folder's path.
    named: kinds by name.
    in_folders: kinds that a folder may hold; the first that it fits is taken.

  Raises:
    ConfigError: neither a name nor a folder of these kinds; says what was expected and
      what is there.
  """
  if model in named:
    return Choice(named[model], model, None)
  folder = pathlib.Path(model).expanduser()
  for kind in in_folders:
    if kind.lies_in(folder):
      return Choice(kind, folder.resolve().name, folder)
  names = ", ".join(map(repr, named))
  kinds = ", or ".join(_described(kind) for kind in in_folders)
  raise ConfigError(
    f"{field}: expected {names}, or a folder with {kinds}; but {_holds(folder)}"
  )


def architectures(folder: pathlib.Path) -> tuple[str, ...]:
  """The classes of transformers that a folder's `config.json` is of; () if none."""
  try:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return tuple(config["architectures"])
  except (OSError, ValueError, KeyError, TypeError):
    return ()


def package_file(module: str, relative: str, requirement: str) -> pathlib.Path:
  """A data file of an installed package, which is not imported.

  Raises:
    MetricAbsent: the package or the file is not there.
  """
  found = importlib.util.find_spec(module)
  for folder in (found and found.submodule_search_locations) or ():
    if (path := pathlib.Path(folder) / relative).exists():
      return path
  raise MetricAbsent(requirement)


def onnx_session(path: pathlib.Path, *, threads: int):
  """An onnxruntime session on the CPU."""
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = threads
  options.inter_op_num_threads = 1
  return onnxruntime.InferenceSession(
    str(path), options, providers=["CPUExecutionProvider"]
  )


def _described(kind: Kind) -> str:
  """A kind's files, and what its `config.json` must be of."""
  files = ", ".join(kind.files)
  return f"{files} (of {kind.architecture})" if kind.architecture else files


def _holds(folder: pathlib.Path) -> str:
  if not folder.is_dir():
    return f"{folder} is not a folder"
  names = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
  said = " and ".join(architectures(folder))
  return f"{folder} holds {names}" + (f" (of {said})" if said else "")
