"""Rewrites what the grammars of `normalise` refuse or misread, for them to go on with.

Telephone numbers are said digit by digit, `and/or` without its slash, versions with
their points, and amounts of money with their cents.
"""

import re
import unicodedata

_DIGITS = "zero one two three four five six seven eight nine".split()
_COINS = {
  "$": ("dollar", "cent"),
  "€": ("euro", "cent"),
  "£": ("pound", "penny"),
  "¥": ("yen", "sen"),
}
_PLURALS = {"penny": "pence", "yen": "yen", "sen": "sen"}
# A country's code with a plus, or an area's in brackets, and groups of digits.
_PHONE = re.compile(
  r"(?<!\w)(?:\+\d{1,3}[ .-]?(?:\(\d{1,5}\)[ .-]?)?|(?:1[ .-]?)?\(\d{2,5}\)[ .-]?)"
  r"\d{2,}(?:[ .-]\d{2,}){0,4}(?!\w)"
)
_MONEY = re.compile(
  r"([$€£¥])(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d\d))?"
  r"(?![\w/]|[.,]\d| (?:thousand|million|billion|trillion)\b)"
)
_DECIMAL = re.compile(
  r"(?<![\w.,$£€¥])(\d{1,3}(?:,\d{3})+|\d{4,9})\.(\d+)(?![\w%°]|[.,/:]\d)"
)
# v2 and v1.2.3, and 1.2.3 without its letter, but no date with points.
_VERSION = re.compile(
  r"\b(?!\d\d?\.\d\d?\.\d{4}\b)(v(?=\d)|V(?=\d+\.\d))?(\d+(?:\.\d+)*)(?!\w|[.,:/]\d)"
)
# Words with slashes between, but not 3 km/h and no addresses of the web.
_SLASHED = re.compile(
  r"(?<![\w./:@-])(?<!\d )[^\W\d_]+(?:/[^\W\d_]+)+(?![\w/:@])(?!\.\w)"
)
_SLASH_WORDS = {
  "and/or": "and or",
  "either/or": "either or",
  "w/o": "without",
  "n/a": "not applicable",
  "c/o": "care of",
}
_SIGNS = {"#": "number ", "~": "about "}
_SIGN = re.compile(r"([#~]) ?(?=\d)")


def rewrite(text: str) -> str:
  """Returns a text that is said as `text` is meant, in symbols that are read so."""
  text = drop_invisible(text)
  text = _PHONE.sub(lambda found: _say_digits(found[0]), text)
  text = _MONEY.sub(_say_money, text)
  text = _DECIMAL.sub(_say_decimal, text)
  text = _VERSION.sub(_say_version, text)
  text = _SIGN.sub(lambda found: _SIGNS[found[1]], text)
  return _SLASHED.sub(_say_slashed, text)


def drop_invisible(text: str) -> str:
  """Returns a text without what has no width."""
  return "".join(filter(_is_visible, text))


def _is_visible(symbol: str) -> bool:
  """Tells whether a symbol isn't one of zero width, as the soft hyphen is."""
  selects_variant = "\ufe00" <= symbol <= "\ufe0f"
  return unicodedata.category(symbol) != "Cf" and not selects_variant


def _say_digits(number):
  groups = re.findall(r"\d+", number)
  said = ", ".join(map(_spell, groups))
  return f"plus {said}" if number.startswith("+") else said


def _say_decimal(found: re.Match[str]) -> str:
  return f"{int(found[1].replace(',', '')):,} point {_spell(found[2])}"


def _spell(digits):
  return " ".join(_DIGITS[int(digit)] for digit in digits)


def _say_money(found: re.Match[str]) -> str:
  sign, whole, cents = found[1], found[2].replace(",", ""), found[3]
  if "," not in found[2] and cents is None:
    return found[0]  # which the grammars read
  units, parts = _COINS[sign]
  said = [_amount(int(whole), units)] if int(whole) or not int(cents or 0) else []
  if int(cents or 0):
    said.append(_amount(int(cents), parts))
  return " and ".join(said)


def _amount(number, coin):
  return f"{number:,} {coin if number == 1 else _PLURALS.get(coin, coin + 's')}"


def _say_version(found: re.Match[str]) -> str:
  numbers = found[2].split(".")
  if found[1]:
    return "version " + " point ".join(numbers)
  return " point ".join(numbers) if len(numbers) > 2 else found[0]


def _say_slashed(found: re.Match[str]) -> str:
  if known := _SLASH_WORDS.get(found[0].lower()):
    return known
  words = found[0].split("/")
  return (" " if any(map(str.isupper, words)) else " or ").join(words)
