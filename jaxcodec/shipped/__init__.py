"""The weights that come with the package, a folder for each, named as users name it.

A codec's folder has `params.safetensors`; a language model's has what a work directory
has of it, see `cli.export`. Both have a model card, `README.md`.
"""

import pathlib

from jaxcodec import files
from jaxcodec.weights import FILE

ROOT = pathlib.Path(__file__).parent
CARD = "README.md"


def codecs() -> list[str]:
  """Returns the names of the codecs."""
  return sorted(path.parent.name for path in ROOT.glob(f"*/{FILE}"))


def language_models() -> list[str]:
  """Returns the names of the speech language models."""
  return sorted(path.parents[1].name for path in ROOT.glob(f"*/slm/{FILE}"))


def find(path: files.PathLike) -> pathlib.Path:
  """Returns the folder that comes with the package by this name, or else `path`.

  What lies at `path` goes before what is named like it.

  Raises:
    FileNotFoundError: neither is there; the message lists the names.
  """
  name, path = str(path), pathlib.Path(path)
  if path.exists():
    return path
  names = codecs() + language_models()
  if name in names:
    return ROOT / name
  raise FileNotFoundError(f"no weights at {path}; by name there are {sorted(names)}")
