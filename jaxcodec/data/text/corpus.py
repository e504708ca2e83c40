"""Texts of a corpus to ids of symbols, all of them checked before any work."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from jaxcodec.data.source import DataError, Utterance
from jaxcodec.data.text.vocabulary import Vocabulary

_NO_TEXT = "has no text"


class EncodedTexts(NamedTuple):
  """The texts of a corpus.

  Attributes:
    ids: of the symbols, (S,) int32, by the index of the utterance; those without a
      usable text are absent.
    skipped: recordings without text, and texts that were left out, as in
      `Source.skipped`.
  """

  ids: dict[int, np.ndarray]
  skipped: list[dict[str, str]]


def encode_all(
  vocabulary: Vocabulary,
  utterances: Sequence[Utterance],
  *,
  max_symbols: int,
  on_error: str,
) -> EncodedTexts:
  """Spells every text of a corpus; a recording without one is no error.

  Args:
    vocabulary: of the front end to use.
    utterances: of a source.
    max_symbols: a text that has more is an error.
    on_error: `raise`, or `skip`: the utterance counts as one without text.

  Raises:
    DataError: naming the utterance.
  """
  ids, skipped = {}, []
  for index, utterance in enumerate(utterances):
    if utterance.text is None:
      skipped.append({"item": utterance.id, "reason": _NO_TEXT})
      continue
    try:
      ids[index] = _encode(vocabulary, utterance.text, max_symbols)
    except DataError as error:
      if on_error == "raise":
        raise DataError(f"utterance {utterance.id!r}: {error}") from error
      logging.warning("Utterance %r has no usable text: %s", utterance.id, error)
      skipped.append({"item": utterance.id, "reason": str(error)})
  without = sum(utterance.text is None for utterance in utterances)
  logging.info(
    "%d of %d utterances have texts, spelled by %r; %d have none; left out: %d",
    len(ids),
    len(utterances),
    vocabulary.front_end,
    without,
    len(skipped) - without,
  )
  return EncodedTexts(ids, skipped)


def _encode(vocabulary, text, max_symbols):
  ids_S = vocabulary.encode(text)
  if len(ids_S) > max_symbols:
    raise DataError(
      f"the text has {len(ids_S)} symbols, more than the {max_symbols} of"
      f" text.max_symbols: {text!r}"
    )
  return ids_S
