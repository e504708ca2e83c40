"""A model's parameters at a glance: sizes by module, and each with its sharding."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
from absl import logging
from clu import parameter_overview

from jaxcodec import files
from jaxcodec.parallel import processes, sharding

FILE = "parameters.txt"


@dataclasses.dataclass(frozen=True)
class ModuleSize:
  """A row of the summary; the fields are its columns.

  Attributes:
    module: path of the top-level module, such as `params/encoder`.
    arrays: how many parameter arrays it has.
    parameters: their elements.
    bytes: of the whole arrays.
    bytes_per_device: of the parts that one device holds.
  """

  module: str
  arrays: int
  parameters: int
  bytes: int
  bytes_per_device: int


def log_parameters(folder: pathlib.Path, abstract_state: Any) -> None:
  """Logs the summary and writes every parameter to `folder`/parameters.txt.

  A codec has hundreds of arrays, too many for the log. Of several processes only
  the first writes.

  Args:
    folder: of the training run.
    abstract_state: see `summarize`.
  """
  if not processes.is_first():
    return
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / FILE
  files.write_text(path, tabulate(abstract_state) + "\n")
  logging.info("parameters, each of them in %s:\n%s", path, summarize(abstract_state))


def summarize(abstract_state: Any) -> str:
  """Returns a table with a row for each top-level module, and the total.

  Args:
    abstract_state: a task's train state of `ShapeDtypeStruct`s with shardings. Its
      parameters are what fields named `params` or `..._params` hold.
  """
  groups: dict[str, dict[str, Any]] = {}
  parameters = dict(_parameters(abstract_state))
  for path, leaf in parameters.items():
    groups.setdefault("/".join(path.split("/")[:2]), {})[path] = leaf
  rows = [_measure(module, group) for module, group in groups.items()]
  return parameter_overview.make_table([*rows, _measure("total", parameters)])


def tabulate(abstract_state: Any) -> str:
  """Returns a table with name, shape, type, size and sharding of each parameter."""
  return parameter_overview.get_parameter_overview(
    dict(_parameters(abstract_state)), include_stats="sharding"
  )


def _parameters(state: Any) -> Iterator[tuple[str, Any]]:
  for key_path, leaf in jax.tree_util.tree_leaves_with_path(state):
    path = sharding.leaf_path(key_path)
    if path.split("/")[0].endswith("params"):
      yield path, leaf


def _measure(module: str, leaves: dict[str, Any]) -> ModuleSize:
  return ModuleSize(
    module=module,
    arrays=len(leaves),
    parameters=sum(leaf.size for leaf in leaves.values()),
    bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in leaves.values()),
    bytes_per_device=sum(map(sharding.bytes_per_device, leaves.values())),
  )
