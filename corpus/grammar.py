"""Draws English sentences from `templates.txt` and `words.txt`.

A template is text with these marks:

- `[ ...]` is there half of the time, and `(a|b)` is one of its parts;
- `{S}` is who the sentence is about, `{S2}` someone else. `{he}`, `{his}`, `{is}`,
  `{was}`, `{has}`, `{dont}`, `{cant}` and `{isnt}` agree with `{S}`, or with `{S2}`
  where they end in 2;
- `{class}` is a word of that class, and `{class.form}` a form of it: of verbs `ed`,
  `en`, `ing`, and the present `s` (`s2`), which agrees with `{S}` (`{S2}`); of nouns
  `pl`;
- `{one class}` is a noun phrase in the singular, `{pl class}` in the plural,
  `{np class}` either; `{a class}` and `{the class}` have that article. Adjectives come
  by themselves;
- `{who}` is someone the sentence is not about, `{name}` a name, `{plural}` a pronoun
  that goes with `have`;
- a mark with a capital gives text with a capital.
"""

import dataclasses
import pathlib
import random
import re

from words import inflect, read_sections, read_words

_FOLDER = pathlib.Path(__file__).parent
_POSSESSIVES = ("my", "your", "her", "his", "our", "their")
_AGREEING = {
  "is": {"I": "am", "s": "is", "p": "are"},
  "was": {"I": "was", "s": "was", "p": "were"},
  "has": {"I": "have", "s": "has", "p": "have"},
  "dont": {"I": "don't", "s": "doesn't", "p": "don't"},
  "isnt": {"I": "am not", "s": "isn't", "p": "aren't"},
  "cant": {"I": "can't", "s": "can't", "p": "can't"},
}
# Words before which "a" becomes "an".
_AN = re.compile(r"\b([Aa]) (?=(?!use|uni|usual|euro|one\b)[aeiouAEIOU]|hour|honest)")


@dataclasses.dataclass(frozen=True)
class Someone:
  """Whom a sentence is about.

  Attributes:
    S: as the subject.
    he: the pronoun.
    his: the possessive.
    verb: which form of verbs: `I`, `s` or `p`, the plural's, which `you` has too.
  """

  S: str
  he: str
  his: str
  verb: str


_HE, _SHE, _THEY = ("he", "his", "s"), ("she", "her", "s"), ("they", "their", "p")
_PRONOUNS = (
  Someone("I", "I", "my", "I"),
  Someone("you", "you", "your", "p"),
  Someone("he", *_HE),
  Someone("she", *_SHE),
  Someone("we", "we", "our", "p"),
  Someone("they", *_THEY),
)
_MEN = set(
  "boy man king prince knight monk priest bishop father brother uncle son nephew"
  " grandfather stepfather landlord wizard postman fisherman".split()
) | {"twin brother"}
_WOMEN = set(
  "girl woman queen widow mother sister aunt daughter niece grandmother".split()
) | {"little sister", "godmother"}


class Grammar:
  """The vocabulary and the templates; `draw` makes one sentence of them."""

  def __init__(self):
    self.words = read_words(_FOLDER / "words.txt")
    texts = read_sections(_FOLDER / "templates.txt").values()
    self.templates = [line for text in texts for line in text.split("\n") if line]

  def draw(self, numbers: random.Random) -> str:
    """Returns a sentence; raises `KeyError` for an unknown mark in a template."""
    return _Draw(self.words, numbers).sentence(numbers.choice(self.templates))


class _Draw:
  """One sentence while it is drawn; `people` are whom it is about, by mark."""

  def __init__(self, words, numbers):
    self.words, self.numbers = words, numbers
    self.people = {}

  def sentence(self, template):
    text = re.sub(r"\[(.*?)\]", lambda m: m[1] if self._chance(0.5) else "", template)
    text = re.sub(r"\((.*?)\)", lambda m: self._pick(m[1].split("|")), text)
    text = re.sub(r"\{(.*?)\}", lambda m: self._mark(m[1]), text)
    text = _AN.sub(r"\1n ", text)
    return text[0].upper() + text[1:]

  def _mark(self, mark):
    small = mark if mark.startswith("S") else mark[0].lower() + mark[1:]
    text = self._expand(small)
    return text if small == mark else text[0].upper() + text[1:]

  def _expand(self, mark):
    word, _, noun = mark.partition(" ")
    if noun:
      return self._phrase(word, noun)
    base, _, form = mark.partition(".")
    if form.startswith("s"):
      verb = self._someone("S" + form[1:]).verb
      return self._word(base, "s" if verb == "s" else "base")
    if base in self.words:
      return self._word(base, form)
    base = mark.rstrip("2")
    if base in ("who", "name", "plural"):
      return {"who": self._who, "name": self._name, "plural": self._plural}[base]()
    someone = self._someone("S2" if mark.endswith("2") else "S")
    if base in _AGREEING:
      return _AGREEING[base][someone.verb]
    return {"S": someone.S, "he": someone.he, "his": someone.his}[base]

  def _word(self, name, form=""):
    found = self.words[name]
    entry = self._pick(found.entries)
    if found.kind == "word":
      return entry
    return inflect(entry, form or ("base" if found.kind == "verb" else "one"))

  def _phrase(self, word, noun):
    """Returns a noun phrase; `word` is its article, or `one`, `pl` or `np`."""
    mass = self.words[noun].kind == "mass"
    if word == "np":
      word = "pl" if self._chance(0.25) and not mass else "one"
    named = self._adjectives(noun) + self._word(noun, "pl" if word == "pl" else "one")
    if word in ("a", "the"):
      return f"{word} {named}"
    return f"{self._determiner('mass' if mass else word)} {named}"

  def _determiner(self, number):
    options = {
      "one": (["the"] * 9 + ["a"] * 5 + ["this", "that"]),
      "pl": (["the"] * 6 + ["these", "those", "some", "many", "several", "a few"]),
      "mass": (["the"] * 5 + ["some", "some", "this"]),
    }
    if number == "pl" and self._chance(0.2):
      return self._word("number")
    return self._his() if self._chance(0.2) else self._pick(options[number])

  def _his(self):
    return self.people["S"].his if "S" in self.people else self._pick(_POSSESSIVES)

  def _adjectives(self, noun):
    """Returns none, one or two adjectives, with a space behind each."""
    classes = self.words[noun].adjectives
    number = self.numbers.choices((0, 1, 2), (45, 45, 10))[0]
    taken = sorted(self.numbers.sample(range(len(classes)), min(number, len(classes))))
    return "".join(self._word(classes[index]) + " " for index in taken)

  def _someone(self, mark):
    if mark not in self.people:
      taken = {one.he for one in self.people.values()}
      self.people[mark] = self._draw_someone(taken)
    return self.people[mark]

  def _draw_someone(self, taken):
    draws = (self._pronoun, self._named, self._person, self._kin, self._people)
    draw = self.numbers.choices(draws, (40, 25, 22, 10, 3))[0]
    someone = draw()
    return someone if someone.he not in taken else self._draw_someone(taken)

  def _pronoun(self):
    return self._pick(_PRONOUNS)

  def _named(self):
    if self._chance(0.5):
      return Someone(self._word("woman"), *_SHE)
    return Someone(self._word("man"), *_HE)

  def _person(self):
    return self._of_gender("person", self._pick(("the", "the", "the", "a", "this")))

  def _kin(self):
    return self._of_gender("kin", self._pick(_POSSESSIVES))

  def _of_gender(self, noun, determiner):
    name = self._word(noun)
    woman = name in _WOMEN or (name not in _MEN and self._chance(0.5))
    adjectives = self._adjectives(noun) if self._chance(0.5) else ""
    return Someone(f"{determiner} {adjectives}{name}", *(_SHE if woman else _HE))

  def _people(self):
    return Someone(
      f"the {self._adjectives('person')}{self._word('person', 'pl')}", *_THEY
    )

  def _who(self):
    draw = self.numbers.choices((self._name, self._some_person), (1, 2))[0]
    return draw()

  def _some_person(self):
    if self._chance(0.4):
      return f"{self._his()} {self._word('kin')}"
    return self._phrase(self._pick(("a", "the", "the", "the", "pl")), "person")

  def _name(self):
    return self._word(self._pick(("woman", "man")))

  def _plural(self):
    return self._pick(("you", "they", "we"))

  def _pick(self, options):
    return self.numbers.choice(options)

  def _chance(self, share):
    return self.numbers.random() < share
