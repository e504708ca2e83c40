"""Neural audio codecs and the speech language models on their tokens, in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from jaxcodec.api import load, load_code_scores, load_slm
  from jaxcodec.types import Tokens, TokenSpec

__version__ = "0.1.0"
__all__ = ["Tokens", "TokenSpec", "load", "load_code_scores", "load_slm"]

# Imported at first use, so that what needs no JAX (data, study) does not import it.
_PUBLIC = {
  "Tokens": "jaxcodec.types",
  "TokenSpec": "jaxcodec.types",
  "load": "jaxcodec.api",
  "load_code_scores": "jaxcodec.api",
  "load_slm": "jaxcodec.api",
}


def __getattr__(name: str) -> Any:
  if name not in _PUBLIC:
    raise AttributeError(f"module 'jaxcodec' has no attribute {name!r}")
  return getattr(importlib.import_module(_PUBLIC[name]), name)
