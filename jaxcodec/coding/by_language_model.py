"""The codes of a token file under a language model: which one, and whether it fits."""

import functools
import importlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcodec.coding import scored
from jaxcodec.coding.header import code_bits
from jaxcodec.coding.scored import Scores, ScoresOrName

# Load scores; imported when they are called, as they lie in a layer above. The second
# is of what comes with the package, and gives None for other names.
_LOADER = "jaxcodec.api.code_scores:load_code_scores"
_LOADER_BY_NAME = "jaxcodec.api.code_scores:shipped_code_scores"
_LOADING = threading.Lock()
_DIGITS = 16  # of a fingerprint; all 64 would be a tenth of a short file


def about(scores: Scores) -> dict[str, str]:
  """Returns what a header says of the language model."""
  own = {"fingerprint": scores.fingerprint[:_DIGITS], "scheme": scores.scheme}
  return {**scores.about, **own}


def encode(
  header: Mapping[str, Any], codes: Sequence[np.ndarray], scores: Scores
) -> bytes:
  """Codes the clips of a file with this header.

  Raises:
    ValueError: the language model is another codec's.
  """
  check_codec(header["fingerprint"], scores)
  return scored.encode(codes, code_bits(header), scores)


def decode(
  header: Mapping[str, Any],
  packed: bytes,
  language_model: ScoresOrName,
) -> list[np.ndarray]:
  """Undoes `encode`: returns codes (T, K) of each clip, int32.

  Args:
    header: of the file.
    packed: its codes.
    language_model: its scores, or what `api.load_code_scores` takes. None is that of
      the name in the header, if it comes with the package.

  Raises:
    ValueError: no language model or another one, damaged codes, or numbers that differ
      too much from those where the file was written.
  """
  written = header["language_model"]
  scores, named = _scores(written, language_model), _named(written)
  for field, found in about(scores).items():
    if field in ("fingerprint", "scheme") and found != written[field]:
      raise ValueError(
        f"was coded under {named}: expected the {field} {written[field]}, got {found}"
      )
  check_codec(header["fingerprint"], scores)
  shape = header["frames"], header["num_codebooks"], code_bits(header)
  try:
    return scored.decode(packed, *shape, scores)
  except ValueError as error:
    raise ValueError(
      f"its codes do not come out: {error}; {named} may compute other numbers here"
      f" ({_place(scores.about)}) than where the file was written ({_place(written)})"
    ) from error


def check_codec(fingerprint: str, scores: Scores) -> None:
  """Raises ValueError unless the model is of the codec with this fingerprint."""
  if scores.codec_fingerprint != fingerprint:
    raise ValueError(
      f"{_named(scores.about)} is of another codec's tokens: expected the fingerprint"
      f" {fingerprint[:12]}, got {scores.codec_fingerprint[:12]}"
    )


def _scores(written: Mapping[str, str], given: ScoresOrName) -> Scores:
  """Returns the scores that a file was coded under.

  Only what comes with the package is loaded because a file names it.
  """
  if isinstance(given, str | os.PathLike):
    return _loaded(_LOADER, os.fspath(given))
  found = given or _loaded(_LOADER_BY_NAME, written.get("name", ""))
  if found is None:
    raise ValueError(
      f"was coded under {_named(written)}: say where that is, by language_model"
      " (--language-model)"
    )
  return found


def _loaded(loader: str, name: str) -> Any:
  with _LOADING:  # files are read in threads, and a cache lets each of them load
    return _load(loader, name)


@functools.lru_cache(maxsize=2)
def _load(loader: str, name: str) -> Any:
  module, _, function = loader.partition(":")
  return getattr(importlib.import_module(module), function)(name)


def _named(about: Mapping[str, str]) -> str:
  return f"the language model {about.get('name', 'without a name')!r}"


def _place(about: Mapping[str, str]) -> str:
  return ", ".join(f"{k} {v}" for k, v in about.items() if k in ("jax", "platform"))
