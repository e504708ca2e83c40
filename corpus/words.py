"""The vocabulary of `words.txt`, and the forms of its nouns and verbs."""

import dataclasses
import pathlib
import re

_DOUBLED = {"cut", "dig", "forget", "hit", "put", "run", "sit", "swim", "win"}


@dataclasses.dataclass(frozen=True)
class WordClass:
  """Words that fit the same places.

  Attributes:
    kind: `noun`, `mass` (a noun without plural), `verb`, or `word`, which has one form.
    adjectives: classes of adjectives that a noun takes, in their order.
    entries: the words as `words.txt` has them.
  """

  kind: str
  adjectives: tuple[str, ...]
  entries: tuple[str, ...]


def read_sections(path: pathlib.Path) -> dict[str, str]:
  """Returns the text below each `[heading]` line of a file, without its comments."""
  lines = path.read_text(encoding="utf-8").splitlines()
  text = "\n".join(line for line in lines if not line.startswith("#"))
  parts = re.split(r"^\[(.+)\]$", text, flags=re.MULTILINE)
  return dict(zip(parts[1::2], parts[2::2], strict=True))


def read_words(path: pathlib.Path) -> dict[str, WordClass]:
  """Returns the classes of a vocabulary by name."""
  classes = {}
  for heading, text in read_sections(path).items():
    kind, name, *adjectives = heading.replace(":", "").split()
    entries = dict.fromkeys(" ".join(text.split()).split(", "))
    classes[name] = WordClass(kind, tuple(adjectives), tuple(entries))
  return classes


def inflect(entry: str, form: str) -> str:
  """Returns a form of a noun's or verb's entry.

  Args:
    entry: `noun`, `noun/plural`, `verb` or `verb past participle`.
    form: `one`, `pl`; `base`, `s` (he does), `ed` (did), `en` (done), `ing` (doing).
  """
  if form in ("one", "pl"):
    one, _, plural = entry.partition("/")
    return one if form == "one" else plural or _add_s(one)
  base, past, participle = entry.split() if " " in entry else (entry, None, None)
  if form == "base":
    return base
  if form == "s":
    return _add_s(base)
  if form == "ing":
    return _add_ing(base, past or "")
  return (participle if form == "en" else past) or _add_ed(base)


def _add_s(word):
  if re.search(r"(s|x|z|ch|sh)$", word):
    return word + "es"
  return word[:-1] + "ies" if _ends_in_y(word) else word + "s"


def _add_ed(word):
  if word.endswith("e"):
    return word + "d"
  return word[:-1] + "ied" if _ends_in_y(word) else word + "ed"


def _add_ing(word, past):
  if word in _DOUBLED or past == word + word[-1] + "ed":
    return word + word[-1] + "ing"
  return re.sub(r"(?<![eoy])e$", "", word) + "ing"


def _ends_in_y(word):
  return re.search(r"[^aeiou]y$", word) is not None
