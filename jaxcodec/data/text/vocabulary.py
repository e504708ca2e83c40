"""Numbers the symbols of a text front end; a trained model depends on the numbers."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from absl import logging

from jaxcodec import files
from jaxcodec.data import extras
from jaxcodec.data.source import DataError
from jaxcodec.data.text.front_ends import FrontEnd, front_end
from jaxcodec.data.text.languages import DEFAULT

PAD, BOS, EOS = 0, 1, 2
_FIRST = 3


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """The symbols of a front end in the order of their ids, which begin at 3.

  It has the front end's whole inventory, not only the symbols of the training texts: so
  new words have no unknown symbols, and the size is known without data. Ids 0, 1 and 2
  pad, begin and end a text.

  Attributes:
    front_end: its name.
    symbols: without repetitions.
    packages: versions of what the texts were spelled by; empty where none is recorded.
    symbols_per_second: how fast a model's training texts are spoken, where recorded.
    language: of the texts, as `text.language` has it.
  """

  front_end: str
  symbols: tuple[str, ...]
  packages: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)
  symbols_per_second: float | None = dataclasses.field(default=None, compare=False)
  language: str = DEFAULT

  @classmethod
  def of(cls, text: FrontEnd) -> "Vocabulary":
    """Returns the vocabulary of a front end, with the versions installed here."""
    versions = extras.versions(text.packages)
    return cls(text.name, text.inventory, versions, language=text.language)

  def __post_init__(self):
    if len(set(self.symbols)) != len(self.symbols):
      raise DataError("a vocabulary's symbols must differ")

  def __len__(self) -> int:
    return _FIRST + len(self.symbols)

  def encode(self, text: str) -> np.ndarray:
    """Returns ids (S,) int32 of the symbols of `text`, without begin and end.

    Raises:
      DataError: the front end cannot speak it, or says what is not in the vocabulary.
    """
    ids = {symbol: _FIRST + i for i, symbol in enumerate(self.symbols)}
    symbols = front_end(self.front_end, self.language).symbols(text)
    for symbol in symbols:
      if symbol not in ids:
        raise DataError(
          f"{symbol!r} (U+{ord(symbol[0]):04X}) in {''.join(symbols)!r}, from the text"
          f" {text!r}, is not in the vocabulary of {self.front_end!r}"
        )
    return np.array([ids[symbol] for symbol in symbols], np.int32)

  def decode(self, ids_S: np.ndarray) -> list[str]:
    """Returns the symbols of ids; those that pad, begin and end are left out."""
    return [self.symbols[i - _FIRST] for i in ids_S if i >= _FIRST]

  def save(self, path: str | os.PathLike) -> None:
    """Writes JSON, for `load`."""
    files.write_json(path, dataclasses.asdict(self))

  @classmethod
  def load(cls, path: str | os.PathLike) -> "Vocabulary":
    """Reads what `save` wrote; warns once of packages of other versions.

    Raises:
      DataError: there is no such file, or it is something else.
    """
    try:
      fields = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
      # Earlier files record neither the packages nor the pace nor the language.
      packages = dict(fields.get("packages", {}))
      pace = fields.get("symbols_per_second")
      if not (pace is None or pace > 0):
        raise ValueError(f"symbols_per_second must be positive, got {pace}")
      language = fields.get("language", DEFAULT)
      if not isinstance(language, str):
        raise TypeError(f"language must be a string, got {language!r}")
      symbols = tuple(fields["symbols"])
      vocabulary = cls(fields["front_end"], symbols, packages, pace, language)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
      raise DataError(f"{path}: is not a vocabulary: {error}") from error
    _warn_of_other_versions(vocabulary.front_end, tuple(sorted(packages.items())))
    return vocabulary


@functools.cache
def _warn_of_other_versions(name: str, recorded: tuple[tuple[str, str], ...]) -> None:
  """Says, once in a process, that texts may be spelled otherwise than in training."""
  installed = extras.versions(package for package, _ in recorded)
  others = [
    f"{package} {installed[package]} in place of {version}"
    for package, version in recorded
    if installed.get(package, version) != version
  ]
  if others:
    logging.warning(
      "Text front end %r: a model was trained on what other versions spelled: %s",
      name,
      ", ".join(others),
    )


def wrapped(*texts: np.ndarray) -> np.ndarray:
  """Returns the ids of texts in a row, between those that begin and end a text."""
  return np.concatenate([[BOS], *texts, [EOS]]).astype(np.int32)
