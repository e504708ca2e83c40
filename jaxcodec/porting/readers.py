"""Reads published weights, files and folders, without PyTorch.

| what | content |
|---|---|
| .pth .th .ckpt .bin | `torch.save` of a state dict, or of a dict that has one inside |
| .safetensors | Hugging Face's format |
| a folder | `model.safetensors` or `pytorch_model.bin`, and `config.json` or `.yaml` |
| a folder | shards of safetensors with their index, and `config.json` |
"""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401  # tells numpy of bfloat16
import numpy as np
import safetensors
import safetensors.numpy
import yaml

from jaxcodec.porting import torch_zip, wrapped

_CONFIGS = {"config.json": json.loads, "config.yaml": yaml.safe_load}
INDEX = "model.safetensors.index.json"
_WEIGHTS = ("model.safetensors", INDEX, "pytorch_model.bin")


class Checkpoint(NamedTuple):
  """The content of a file of weights.

  Attributes:
    state: arrays by PyTorch's names.
    config: the model's description, of `config.json`, `config.yaml` or DAC's metadata;
      may be empty.
    notes: for the user: where in the file the arrays were found.
  """

  state: dict[str, np.ndarray]
  config: dict[str, Any]
  notes: list[str]


def read(path: str | pathlib.Path) -> Checkpoint:
  """Reads any of the formats above.

  Raises:
    FileNotFoundError, ValueError: naming the file, if it is absent, truncated, of
      another format, or holds anything but weights.
  """
  path = pathlib.Path(path)
  if path.is_dir():
    path = weights_file(path)
  if not path.is_file():
    raise FileNotFoundError(f"no weights at {path}")
  if path.suffix == ".safetensors":
    return Checkpoint(_safetensors(path), _config_beside(path), [])
  if path.name == INDEX:
    return Checkpoint(_shards(path), _config_beside(path), [])
  tree = torch_zip.load(path)
  if not isinstance(tree, Mapping):
    raise ValueError(f"{path} holds a {type(tree).__name__}, not a state dict")
  state, notes = wrapped.look_into(tree)
  strange = [n for n, value in state.items() if not isinstance(value, np.ndarray)]
  if strange:
    raise ValueError(f"{path} is not a state dict: {strange[:5]} are not tensors")
  return Checkpoint(dict(state), _kwargs(tree) or _config_beside(path), notes)


def description(path: str | pathlib.Path) -> dict[str, Any]:
  """Returns what the weights at a path say of their model, or the config beside them.

  Returns {} if neither says anything.

  Raises:
    FileNotFoundError, ValueError: as `read` does.
  """
  path = pathlib.Path(path)
  path = weights_file(path) if path.is_dir() else path
  beside = _config_beside(path)
  if beside or path.suffix in (".safetensors", ".json") or not path.is_file():
    return beside
  tree = torch_zip.load(path)
  return _kwargs(tree) if isinstance(tree, Mapping) else {}


@contextlib.contextmanager
def name_in_errors(path: str | pathlib.Path) -> Iterator[None]:
  """Puts the path before the message of a `ValueError` in the block."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from None


def _kwargs(tree: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the constructor arguments in the metadata of DAC's own files."""
  metadata = tree.get("metadata")
  kwargs = metadata.get("kwargs") if isinstance(metadata, Mapping) else None
  return dict(kwargs) if isinstance(kwargs, Mapping) else {}


def weights_file(folder: pathlib.Path) -> pathlib.Path:
  """Returns the file of a folder that `read` takes the weights from.

  Raises:
    FileNotFoundError: there is none.
  """
  found = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
  if not found:
    raise FileNotFoundError(f"{folder} holds neither {' nor '.join(_WEIGHTS)}")
  return found[0]


def _safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    return safetensors.numpy.load_file(path)
  except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
    raise ValueError(
      f"{path} is truncated or isn't a safetensors file ({error})"
    ) from None


def _shards(index: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads the files that an index names, which lie beside it."""
  with name_in_errors(index):
    try:
      names = set(json.loads(index.read_text())["weight_map"].values())
      wrong = [name for name in names if pathlib.Path(name).name != name]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
      raise ValueError(f"is no index of weights ({error!r})") from None
    if wrong:
      raise ValueError(f"names {wrong[0]!r}, which is not a file beside it")
  state = {}
  for name in sorted(names):
    if not (path := index.with_name(name)).is_file():
      raise FileNotFoundError(f"no weights at {path}, which {index.name} names")
    state |= _safetensors(path)
  return state


def _config_beside(path: pathlib.Path) -> dict[str, Any]:
  """Reads the config of a folder in Hugging Face's layout or Vocos's."""
  for name, parse in _CONFIGS.items():
    file = path.with_name(name)
    if path.name in _WEIGHTS and file.is_file():
      try:
        config = parse(file.read_text())
      except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read ({error})") from None
      if not isinstance(config, dict):
        raise ValueError(f"{file} holds a {type(config).__name__}, not a config")
      return config
  return {}
