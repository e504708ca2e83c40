"""What a source of speech is, and the one way to open one by name."""

import dataclasses
import importlib
import inspect
from typing import Protocol

import numpy as np


class DataError(ValueError):
  """Bad data or data settings; the message names the file or field."""


@dataclasses.dataclass(frozen=True)
class Utterance:
  """One recording: `text` is None where there is no transcript."""

  id: str
  speaker: str
  text: str | None
  seconds: float


class Source(Protocol):
  """Recordings by index, already checked to be readable.

  Attributes:
    utterances: in an order that does not change between runs.
    skipped: what was left out, as {"item": name, "reason": why}.
    fingerprint: hex digest of names, texts, speakers and audio contents.
  """

  utterances: tuple[Utterance, ...]
  skipped: list[dict[str, str]]
  fingerprint: str

  def audio(self, index: int, sample_rate: int) -> np.ndarray:
    """Mono float32 samples in [-1, 1], resampled; do not write into them."""


_OPENERS = {
  "embedded": ("jaxcodec.data.sources.embedded", "open_embedded"),
  "folder": ("jaxcodec.data.sources.folder", "open_folder"),
  "synthetic": ("jaxcodec.data.sources.synthetic", "open_synthetic"),
  "tfds": ("jaxcodec.data.sources.tfds", "open_tfds"),
}


def open_source(
  source: str,
  path: str | None = None,
  *,
  sample_rate: int,
  on_error: str = "raise",
  **options,
) -> Source:
  """Opens the source called `source` and checks every recording in it.

  Args:
    source: `embedded`, `folder`, `tfds`, or `synthetic`, which has no recordings.
    path: folder of audio, or TFDS's data directory; None for the others.
    sample_rate: Hz at which audio will mostly be asked for.
    on_error: `raise` at the first bad recording or `skip` and list them all.
    **options: the opener's own (see `open_embedded`, `open_folder`, `open_tfds`).

  Raises:
    DataError: nothing usable, or bad settings, or (`raise`) a bad recording.
  """
  if source not in _OPENERS:
    raise DataError(f"data.source: {source!r} is unknown; known: {sorted(_OPENERS)}")
  if on_error not in ("raise", "skip"):
    raise DataError(f"data.on_error must be 'raise' or 'skip', got {on_error!r}")
  if not isinstance(sample_rate, int) or sample_rate < 1:
    raise DataError(f"data.sample_rate must be a positive integer, got {sample_rate!r}")
  module, name = _OPENERS[source]
  opener = getattr(importlib.import_module(module), name)
  known = inspect.signature(opener).parameters
  if unknown := sorted(set(options) - set(known)):
    fields = ", ".join(f"data.{name}" for name in unknown)
    raise DataError(f"{fields}: not an option of data.source={source!r}")
  return opener(path, sample_rate=sample_rate, on_error=on_error, **options)
