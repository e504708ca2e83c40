"""In which order held-out utterances are taken where not all of them are."""

import hashlib
from collections.abc import Sequence


def by_chance(ids: Sequence[str]) -> list[int]:
  """Returns the utterances' indices in an order that looks drawn, by their ids alone.

  A corpus lists its speakers one after another, so that its first utterances may all be
  of one. The order is the same for every codec, language model and seed.
  """
  return sorted(range(len(ids)), key=lambda index: _digest(ids[index]))


def _digest(name: str) -> bytes:
  return hashlib.sha256(f"held out: {name}".encode()).digest()
