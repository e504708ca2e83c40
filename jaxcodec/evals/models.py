"""Finding the weights that metrics run on: in an installed package or at a path."""

import functools
import hashlib
import importlib.util
import pathlib

from jaxcodec.evals.metric import MetricAbsent


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


@functools.lru_cache
def sha256(path: pathlib.Path) -> str:
  """Hex digest of a file."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def onnx_session(path: pathlib.Path, *, threads: int):
  """An onnxruntime session on the CPU."""
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = threads
  options.inter_op_num_threads = 1
  return onnxruntime.InferenceSession(
    str(path), options, providers=["CPUExecutionProvider"]
  )
