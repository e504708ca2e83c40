"""The texts of a corpus as ids, all of them checked before any work."""

from collections.abc import Sequence

import numpy as np
from absl import logging

from jaxcodec.data.source import DataError, Utterance
from jaxcodec.data.text.vocabulary import Vocabulary


def encode_all(
  vocabulary: Vocabulary,
  utterances: Sequence[Utterance],
  *,
  max_symbols: int,
  on_error: str,
) -> dict[int, np.ndarray]:
  """Ids of the texts, by the index of their utterances; those without text are absent.

  Args:
    vocabulary: of the front end to use.
    utterances: of a source.
    max_symbols: a text that has more is an error.
    on_error: `raise`, or `skip`: the utterance counts as one without text.

  Raises:
    DataError: naming the utterance.
  """
  encoded, skipped = {}, 0
  for index, utterance in enumerate(utterances):
    if utterance.text is None:
      continue
    try:
      encoded[index] = _encode(vocabulary, utterance.text, max_symbols)
    except DataError as error:
      if on_error == "raise":
        raise DataError(f"utterance {utterance.id!r}: {error}") from error
      logging.warning("Utterance %r has no usable text: %s", utterance.id, error)
      skipped += 1
  logging.info(
    "%d of %d utterances have texts, spoken out by %r; %d texts are left out",
    *(len(encoded), len(utterances), vocabulary.front_end, skipped),
  )
  return encoded


def _encode(vocabulary, text, max_symbols):
  ids_S = vocabulary.encode(text)
  if len(ids_S) > max_symbols:
    raise DataError(
      f"the text has {len(ids_S)} symbols, more than the {max_symbols} of"
      f" text.max_symbols: {text!r}"
    )
  return ids_S
