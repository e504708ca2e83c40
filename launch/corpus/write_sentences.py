"""Writes the package's drawn sentences, balanced over the diphones of English.

    python launch/corpus/write_sentences.py [--number N] [--out FILE]

Each sentence is the best of a few from the grammar: the one whose diphones, as
hibari-tts spells it, are the rarest so far, on average. The same versions of Python's
`random`, the grammar and hibari-tts write the same file.
"""

import argparse
import collections
import itertools
import pathlib
import random
import re
from collections.abc import Iterator

import hibari
from grammar import Grammar

SOURCES = pathlib.Path(__file__).parents[2] / "jaxcodec" / "data" / "sources"
SEED, CANDIDATES = 1, 4
MIN_WORDS, MAX_WORDS = 4, 14
NUMBER = 13_566  # with the 434 written ones, 14,000
# Words that a sentence may have twice.
_REPEATED = set(
  "a an the of to and in on at by that was were is are had he she".split()
)


def main() -> None:
  """Writes the file."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--number", type=int, default=NUMBER)
  parser.add_argument(
    "--out", type=pathlib.Path, default=SOURCES / "open_sentences.txt"
  )
  args = parser.parse_args()
  written = (SOURCES / "sentences.txt").read_text(encoding="utf-8").splitlines()
  drawn = itertools.islice(draw_sentences(written), args.number)
  args.out.write_text("".join(f"{text}\n" for text in drawn), encoding="utf-8")


def draw_sentences(written: list[str]) -> Iterator[str]:
  """Yields different sentences without end, none of them among `written`."""
  numbers, grammar, voice = random.Random(SEED), Grammar(), hibari.Hibari()
  seen, counts = set(written), collections.Counter()
  for text in written:
    counts.update(diphones(voice, text))
  while True:
    found = {}
    while len(found) < CANDIDATES:
      text = grammar.draw(numbers)
      if is_clean(text) and text not in seen:
        found[text] = diphones(voice, text)
    best = max(found, key=lambda text: _rarity(found[text], counts))
    seen.add(best)
    counts.update(found[best])
    yield best


def is_clean(text: str) -> bool:
  """Tells whether a sentence has a good length and no word twice."""
  words = [word for word in re.findall(r"[\w'-]+", text.lower())]
  rare = [word for word in words if word not in _REPEATED]
  return MIN_WORDS <= len(words) <= MAX_WORDS and len(rare) == len(set(rare))


def diphones(voice: hibari.Hibari, text: str) -> list[str]:
  """Returns the pairs of neighbouring phonemes, with `#` at both ends; no stress."""
  phonemes = re.sub(r"[^\w]|[ˈˌ]", "", "".join(voice.phonemize(text)))
  return [a + b for a, b in itertools.pairwise(f"#{phonemes}#")]


def _rarity(pairs, counts):
  return sum((1 + counts[pair]) ** -0.5 for pair in pairs) / len(pairs)


if __name__ == "__main__":
  main()
