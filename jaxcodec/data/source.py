"""What a source of speech is, and how a config opens one by name."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from jaxcodec.registry import Registry


class DataError(ValueError):
  """Bad data or data settings; the message names the file or field."""


@dataclasses.dataclass(frozen=True)
class Utterance:
  """One recording.

  Attributes:
    id: its name in the source.
    speaker: "unknown" where it isn't known.
    text: None where there is no transcript.
    seconds: its length.
    folder: of its file below the source's own, with slashes, by which
      `split_by_folder` tells the parts of a corpus apart.
    was_heard: whether weights that come with the package were trained on it, so that it
      shouldn't be held out.
  """

  id: str
  speaker: str
  text: str | None
  seconds: float
  folder: str = ""
  was_heard: bool = False


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
    """Returns mono float32 samples (N,) in [-1, 1], resampled to `sample_rate` Hz.

    They may be shared with other callers: do not write into them.
    """


# Functions (path, *, sample_rate, on_error, **options) -> Source. Their other keywords
# are `config.data.options`, which are checked against the annotations.
SOURCES: Registry[Callable[..., Source]] = Registry(
  "data.source",
  {
    "embedded": "jaxcodec.data.sources.embedded:open_embedded",
    "folder": "jaxcodec.data.sources.folder:open_folder",
    "synthetic": "jaxcodec.data.sources.synthetic:open_synthetic",
    "tfds": "jaxcodec.data.sources.tfds:open_tfds",
  },
  DataError,
)


def open_source(
  source: str,
  path: str | None = None,
  *,
  sample_rate: int,
  on_error: str = "raise",
  **options: Any,
) -> Source:
  """Opens the source called `source` and checks every recording in it.

  Args:
    source: a name in `SOURCES`.
    path: folder of audio, or TFDS's data directory; None for the others.
    sample_rate: Hz at which audio will mostly be asked for.
    on_error: `raise` at the first bad recording or `skip` and list them all.
    **options: the source's own (see `open_embedded`, `open_folder`, `open_tfds`).

  Raises:
    DataError: nothing usable, or bad settings, or (`raise`) a bad recording.
  """
  opener = SOURCES.lookup(source)
  if on_error not in ("raise", "skip"):
    raise DataError(f"data.on_error must be 'raise' or 'skip', got {on_error!r}")
  if not isinstance(sample_rate, int) or sample_rate < 1:
    raise DataError(f"data.sample_rate must be a positive integer, got {sample_rate!r}")
  _check_options(source, opener, options)
  return opener(path, sample_rate=sample_rate, on_error=on_error, **options)


def _check_options(
  source: str, opener: Callable[..., Source], options: dict[str, Any]
) -> None:
  """Raises `DataError` for an option that the source lacks or that has a wrong type."""
  known = {
    name: hint
    for name, hint in typing.get_type_hints(opener).items()
    if inspect.signature(opener).parameters.get(name)
    and name not in ("path", "sample_rate", "on_error")
  }
  for name, value in options.items():
    if name not in known:
      raise DataError(
        f"data.options.{name}: not an option of data.source={source!r}, which has"
        f" {sorted(known) or 'none'}"
      )
    if not _has_type(value, known[name]):
      expected = getattr(known[name], "__name__", str(known[name]))
      raise DataError(f"data.options.{name} must be {expected}, got {value!r}")


def _has_type(value: Any, hint: Any) -> bool:
  if isinstance(hint, types.UnionType):
    return any(_has_type(value, one) for one in typing.get_args(hint))
  if hint is float:
    hint = (int, float)
  return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
