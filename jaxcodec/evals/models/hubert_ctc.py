"""A recogniser by HuBERT: the likeliest symbol of each frame, without a language model.

Source: Hsu et al. 2021 (arXiv 2106.07447), and transformers' HubertForCTC and
Wav2Vec2CTCTokenizer.
"""

import itertools
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcodec import files
from jaxcodec.evals.models.waveform import Waveform, wants_normalised
from jaxcodec.porting import hubert, readers

_TOKENISER = ("special_tokens_map.json", "tokenizer_config.json")


class HubertCtc:
  """transformers' HubertForCTC in a local folder, run by JAX; greedy."""

  def __init__(self, folder: pathlib.Path, name: str):
    """Reads the model from its folder.

    Raises:
      FileNotFoundError, ValueError: a file can't be used; names it.
    """
    self.name = name
    self.sha256 = files.sha256(readers.weights_file(folder))
    found = hubert.load_ctc(folder)
    self.symbols = read_symbols(folder, len(found.head["bias"]))
    self._model = found.model

    def logits(params, audio_BxN, length_B):
      x_BxTxD = found.model.apply({"params": params["body"]}, audio_BxN, length_B)
      bias_1x1xV = params["head"]["bias"].reshape(1, 1, -1)
      return x_BxTxD @ params["head"]["kernel"] + bias_1x1xV

    self._logits = Waveform(
      logits,
      {"body": found.params, "head": found.head},
      found.model,
      normalise=wants_normalised(folder),
    )

  def logits(self, audio: np.ndarray) -> np.ndarray:
    """Returns the logits of every frame's symbol, (T, V), for (N,) audio at 16 kHz."""
    samples = max(len(audio), self._model.window)
    return self._logits(audio)[: self._model.num_frames(samples)]

  def transcribe(self, audio: np.ndarray, language: str = "") -> str:
    return self.symbols.text(self.logits(audio).argmax(-1))


class Symbols(NamedTuple):
  """The symbols that a recogniser outputs.

  Attributes:
    names: the symbols, by number.
    blank: CTC's blank symbol.
    space: the symbol between words.
  """

  names: tuple[str, ...]
  blank: str
  space: str

  def text(self, numbers: Iterable[int]) -> str:
    """Collapses the frames' symbols to text: repeats become one, blanks are dropped.

    Source: Graves et al. 2006, "Connectionist temporal classification", section 3.1.
    """
    runs = [self.names[number] for number, _ in itertools.groupby(numbers)]
    heard = [" " if name == self.space else name for name in runs if name != self.blank]
    return "".join(heard).strip()


def read_symbols(folder: pathlib.Path, count: int) -> Symbols:
  """Reads the symbols of a folder's `vocab.json`.

  Blank and space are `<pad>` and `|`, unless the tokeniser's files name others.

  Raises:
    ValueError: the file, which the message names, doesn't have `count` symbols or lacks
      the blank.
  """
  said: dict[str, Any] = {}
  for name in _TOKENISER:
    if (folder / name).is_file():
      said |= _object(folder / name)
  blank = _content(said.get("pad_token", "<pad>"))
  space = _content(said.get("word_delimiter_token", "|"))
  path = folder / "vocab.json"
  numbers = _object(path)
  whole = all(type(number) is int for number in numbers.values())
  if not whole or sorted(numbers.values()) != list(range(count)):
    raise ValueError(f"{path}: expected names of the symbols 0 to {count - 1}")
  if blank not in list(numbers):
    raise ValueError(f"{path}: expected the blank symbol {blank!r} among the names")
  return Symbols(tuple(sorted(numbers, key=numbers.get)), blank, space)


def _object(path: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except (OSError, ValueError) as error:
    raise ValueError(f"{path}: can't be read ({error})") from None
  if not isinstance(found, dict):
    raise ValueError(f"{path}: expected an object, got a {type(found).__name__}")
  return found


def _content(token: str | Mapping[str, Any]) -> str:
  """Returns a token's text; the file may hold it alone or with its settings."""
  return token.get("content") if isinstance(token, Mapping) else token
