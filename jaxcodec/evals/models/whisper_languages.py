"""The languages that Whisper knows, and whether a folder's model is one of several."""

import json
import pathlib

from jaxcodec.build.fields import ConfigError
from jaxcodec.data.text.languages import is_english

_KNOWN = frozenset(
  "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu"
  " ha haw he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk"
  " ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv"
  " sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh".split()
)
_BY_ESPEAK = {"nb": "no", "cmn": "zh"}
_ENGLISH_SYMBOLS = 51_864  # of models of English; those of many languages have more


def whisper_code(language: str) -> str:
  """Returns Whisper's name of a language such as `de` or `pt-br`.

  Raises:
    ConfigError: it has none.
  """
  name = language.split("-")[0]
  code = _BY_ESPEAK.get(name, name)
  if code not in _KNOWN:
    raise ConfigError(
      f"evaluate.language: Whisper knows {', '.join(sorted(_KNOWN))}, got {language!r};"
      " give another recogniser, or leave wer and cer out of the metrics"
    )
  return code


def check_language(name: str, folder: pathlib.Path | None, language: str) -> None:
  """Refuses a Whisper model that doesn't know the language.

  Args:
    name: of the model, for the error.
    folder: of the model; None for the one in a package, which is of English.
    language: of the speech.

  Raises:
    ConfigError: it doesn't.
  """
  whisper_code(language)
  if is_english(language) or not (folder is None or _is_of_english(folder)):
    return
  raise ConfigError(
    f"evaluate.asr: {name!r} knows English alone, and evaluate.language (or else"
    f" text.language) is {language!r}: give the folder of a multilingual faster-whisper"
    " model, or leave wer and cer out of the metrics"
  )


def _is_of_english(folder):
  """Tells by the number of symbols, as CTranslate2 does; False if nothing tells."""
  try:
    if (table := folder / "vocabulary.json").is_file():
      return len(json.loads(table.read_text(encoding="utf-8"))) == _ENGLISH_SYMBOLS
    lines = (folder / "vocabulary.txt").read_bytes().splitlines()
    return len(lines) == _ENGLISH_SYMBOLS
  except (OSError, ValueError, TypeError):
    return False
