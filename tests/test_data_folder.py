"""Folders of recordings: each layout, each way it can be broken, and real sets."""

import shutil

import pytest
from data_helpers import RATE, write_tone

from jaxcodec.data.source import DataError, open_source
from jaxcodec.data.sources.metadata_csv import third_column


def read(path, **options):
  return open_source("folder", str(path), sample_rate=RATE, **options)


def labels(source):
  return [(u.id, u.speaker, u.text) for u in source.utterances]


def make_set(root, metadata, names=("a", "b"), where="wavs"):
  for name in names:
    write_tone(root / where / f"{name}.wav")
  (root / "metadata.csv").write_text(metadata, encoding="utf-8")
  return root


LJ = "a|In 1905 he left.|In nineteen oh five he left.\nb|He came.|He came.\n"


@pytest.mark.parametrize("where", ["wavs", ".", "deep/er"])
def test_ljspeech_prefers_normalised_text(tmp_path, where):
  source = read(make_set(tmp_path, LJ, where=where))
  assert labels(source) == [
    ("a", "unknown", "In nineteen oh five he left."),
    ("b", "unknown", "He came."),
  ]
  assert source.utterances[0].seconds == 0.5 and source.skipped == []


def test_third_column_of_speakers(tmp_path):
  source = read(make_set(tmp_path, "a|zero|ann\n\nb|one|bob\n"))
  assert labels(source) == [("a", "ann", "zero"), ("b", "bob", "one")]


def test_two_columns(tmp_path):
  assert labels(read(make_set(tmp_path, "b.wav|Hi there.\n"))) == [
    ("b.wav", "unknown", "Hi there.")
  ]


def test_header_names_the_columns(tmp_path):
  source = read(make_set(tmp_path, "\ufefffile|speaker|text\na|7|seven\n"))
  assert labels(source) == [("a", "7", "seven")]


@pytest.mark.parametrize(
  ("pairs", "role"),
  [
    ([("Mr. Fox ate 3 eggs", "mister Fox ate three eggs")], "normalised"),
    ([("zero", "theo"), ("one", "lucas")], "speaker"),
    ([("7", "seven"), ("8", "eight")], "unknown"),
    ([("go home", "a reading of something else entirely")], "unknown"),
    ([("zero", "theo"), ("one", "one")], "unknown"),
  ],
)
def test_third_column(pairs, role):
  assert third_column(pairs) == role


def test_ambiguous_third_column(tmp_path):
  with pytest.raises(DataError, match="metadata.csv: cannot tell .* add a first line"):
    read(make_set(tmp_path, "a|7|seven\nb|8|eight\n"))


@pytest.mark.parametrize(
  ("line", "reason"),
  [
    (
      "missing|Hello there.|Hello there.",
      "metadata.csv:3: 'missing' has no audio file",
    ),
    ("a;b", "metadata.csv:3: malformed: 1 fields separated by '|', expected 3"),
    ("a|x|y|z", "metadata.csv:3: malformed: 4 fields"),
    ("|Hello there.|Hello there.", "metadata.csv:3: malformed: the id is empty"),
    ("c||", "metadata.csv:3: malformed: the text is empty"),
    ("b|He came.|He came.", "b.wav: has the same id 'b' as"),
  ],
)
def test_bad_metadata_lines(tmp_path, line, reason):
  root = make_set(tmp_path, LJ + line + "\n")
  with pytest.raises(DataError) as error:
    read(root)
  assert reason in str(error.value) and "on_error='skip'" in str(error.value)
  source = read(root, on_error="skip")
  assert [u.id for u in source.utterances] == ["a", "b"]
  assert len(source.skipped) == 1 and reason in source.skipped[0]["reason"]


def test_speaker_must_not_be_empty(tmp_path):
  with pytest.raises(
    DataError, match="metadata.csv:2: malformed: the speaker is empty"
  ):
    read(make_set(tmp_path, "a|zero|ann\nb|one|\n"))


def test_one_id_with_two_files(tmp_path):
  make_set(tmp_path, LJ)
  write_tone(tmp_path / "other" / "a.flac")
  with pytest.raises(DataError, match="metadata.csv:1: 'a' has several audio files"):
    read(tmp_path)


def test_metadata_not_utf8(tmp_path):
  make_set(tmp_path, LJ)
  (tmp_path / "metadata.csv").write_bytes("a|Où?|Où?".encode("latin-1"))
  with pytest.raises(DataError, match="metadata.csv: is not UTF-8"):
    read(tmp_path)


def test_empty_metadata(tmp_path):
  with pytest.raises(DataError, match="metadata.csv: is empty"):
    read(make_set(tmp_path, "\n"))


def test_metadata_below_the_top(tmp_path):
  make_set(tmp_path / "LJSpeech-1.1", LJ)
  with pytest.raises(DataError, match="metadata.csv is not at the top"):
    read(tmp_path)


def test_texts_beside(tmp_path):
  for name in ("ann/1", "bob/2"):
    write_tone(tmp_path / f"{name}.ogg").with_suffix(".txt").write_text(
      f"Say {name}.\n"
    )
  (tmp_path / "README.txt").write_text("Not a transcript.")
  assert labels(read(tmp_path)) == [
    ("ann/1", "ann", "Say ann/1."),
    ("bob/2", "bob", "Say bob/2."),
  ]
  (tmp_path / "bob" / "2.txt").write_text(" \n")
  write_tone(tmp_path / "bob" / "3.flac")
  with pytest.raises(DataError, match=r"2.txt: is empty;"):
    read(tmp_path)
  source = read(tmp_path, on_error="skip")
  assert labels(source)[1:] == [("bob/3", "bob", None)] and len(source.skipped) == 1
  (tmp_path / "bob" / "2.txt").write_bytes("Caf\u00e9.".encode("latin-1"))
  (tmp_path / "bob" / "3.TXT").write_text("Three.")
  source = read(tmp_path, on_error="skip")
  assert labels(source)[1:] == [("bob/3", "bob", "Three.")]
  assert "2.txt: is not UTF-8 text" in source.skipped[0]["reason"]


def test_librispeech(tmp_path):
  chapter = tmp_path / "84" / "121123"
  for n in range(2):
    write_tone(chapter / f"84-121123-000{n}.flac")
  transcript = chapter / "84-121123.trans.txt"
  transcript.write_text("84-121123-0000 GO ON\n84-121123-0001 DO YOU KNOW\n")
  assert labels(read(tmp_path)) == [
    ("84-121123-0000", "84", "GO ON"),
    ("84-121123-0001", "84", "DO YOU KNOW"),
  ]
  transcript.write_text("84-121123-0000\n84-121123-0009 NO\n")
  source_error = "trans.txt:1: '84-121123-0000' has no text"
  with pytest.raises(DataError, match=source_error):
    read(tmp_path)


def test_librispeech_lists_every_gap(tmp_path):
  for n in range(3):
    write_tone(tmp_path / "8" / "1" / f"8-1-{n}.flac")
  (tmp_path / "8" / "1" / "8-1.trans.txt").write_text("8-1-0 GO\n8-1-7 NO\n8-1-1\n")
  source = read(tmp_path, on_error="skip")
  assert [u.id for u in source.utterances] == ["8-1-0"]
  assert [s["item"].split("/")[-1] for s in source.skipped] == [
    "8-1-7",
    "8-1-1",
    "8-1-2.flac",
  ]


def test_no_text_at_all(tmp_path):
  for name in ("x.wav", "ann/y.flac", "wavs/z.mp3", ".hidden/w.wav"):
    write_tone(tmp_path / name)
  assert labels(read(tmp_path)) == [
    ("ann/y", "ann", None),
    ("wavs/z", "unknown", None),
    ("x", "unknown", None),
  ]


def test_same_stem_twice(tmp_path):
  write_tone(tmp_path / "x.wav")
  write_tone(tmp_path / "x.flac")
  with pytest.raises(DataError, match="x.wav: has the same id 'x' as .*x.flac"):
    read(tmp_path)


def test_bad_audio_raises_or_is_skipped(tmp_path):
  write_tone(tmp_path / "good.wav")
  (tmp_path / "bad.flac").write_bytes(b"fLaC not really")
  with pytest.raises(DataError, match="bad.flac: truncated or damaged in its header"):
    read(tmp_path)
  source = read(tmp_path, on_error="skip")
  assert labels(source) == [("good", "unknown", None)]
  assert source.skipped[0]["item"].endswith("bad.flac")
  (tmp_path / "good.wav").unlink()
  with pytest.raises(DataError, match="no usable recording; .*bad.flac"):
    read(tmp_path, on_error="skip")


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_missing_and_empty_folders(tmp_path, on_error):
  with pytest.raises(DataError, match="data.path: .*nowhere is not a folder"):
    read(tmp_path / "nowhere", on_error=on_error)
  with pytest.raises(DataError, match="no .wav, .flac, .mp3, .ogg, .*file anywhere"):
    read(tmp_path, on_error=on_error)


@pytest.mark.parametrize(
  ("arguments", "reason"),
  [
    ({"source": "folders"}, r"data.source must be one of \['embedded', .*'folders'"),
    ({"on_error": "ignore"}, "data.on_error must be 'raise' or 'skip'"),
    ({"sample_rate": 0}, "data.sample_rate must be a positive integer"),
    ({"split": "train"}, "data.options.split: not an option of .*='folder'"),
    ({"path": None}, "data.path: data.source='folder' needs the folder"),
  ],
)
def test_bad_settings(tmp_path, arguments, reason):
  settings = {"source": "folder", "path": str(tmp_path), "sample_rate": RATE}
  with pytest.raises(DataError, match=reason):
    open_source(**{**settings, **arguments})


def test_fingerprint_follows_contents_not_place(tmp_path):
  first = read(make_set(tmp_path / "one", LJ)).fingerprint
  shutil.copytree(tmp_path / "one", tmp_path / "two")
  assert read(tmp_path / "two").fingerprint == first
  write_tone(tmp_path / "two" / "wavs" / "a.wav", hz=330)
  assert read(tmp_path / "two").fingerprint != first
  (tmp_path / "one" / "metadata.csv").write_text(LJ.replace("came", "went"))
  assert read(tmp_path / "one").fingerprint != first


def test_audio_outside_the_cache_is_the_same(tmp_path):
  make_set(tmp_path, LJ)
  cached, uncached = read(tmp_path), read(tmp_path, cache_bytes=0)
  for rate in (RATE, 24_000):
    audio_N = cached.audio(1, rate)
    assert len(audio_N) == rate // 2
    assert (audio_N == uncached.audio(1, rate)).all()
  assert cached.audio(1, RATE) is cached.audio(1, RATE)
  with pytest.raises(ValueError, match="read-only"):
    audio_N[0] = 1


def test_ljspeech_mini(ljspeech_mini):
  source = read(ljspeech_mini)
  assert len(source.utterances) == 310
  assert 33 < sum(u.seconds for u in source.utterances) / 60 < 34
  assert {u.speaker for u in source.utterances} == {"unknown"}
  lines = (ljspeech_mini / "metadata.csv").read_text().splitlines()
  assert [u.text for u in source.utterances] == [line.split("|")[2] for line in lines]


def test_fsdd(fsdd):
  source = read(fsdd)
  assert len(source.utterances) == 3000
  speakers = {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
  assert {u.speaker for u in source.utterances} == speakers
  assert len({u.text for u in source.utterances}) == 10
