"""File names, links and tables as people have them, each made here."""

import os
import pathlib
import unicodedata

import pytest
from data_helpers import RATE, write_tone

from jaxcodec import files
from jaxcodec.cli import file_tree
from jaxcodec.data.source import DataError, open_source
from jaxcodec.data.sources.layouts import list_folder
from jaxcodec.data.sources.tree import list_files
from jaxcodec.pipeline.experiment import safe_name

CAFE = "caf\u00e9"


def labels(root):
  items, problems = list_folder(root)
  assert problems == []
  return [(item.id, item.speaker, item.text) for item in items]


def make_set(root, table, names=("wavs/a", "wavs/b"), name="metadata.csv"):
  for audio in names:
    write_tone(root / f"{audio}.wav")
  (root / name).write_bytes(table.encode())
  return root


def test_names_that_are_not_utf8(tmp_path):
  bad = os.fsdecode(b"caf\xe9.flac")
  (tmp_path / bad).write_bytes(b"fLaC not really")
  (item,) = list_folder(tmp_path)[0]
  assert item.id == r"caf\xe9" and item.path.name == bad
  str(item).encode(), safe_name(item.id).encode()
  (pair,) = file_tree.plan([tmp_path], tmp_path / "out", (".flac",), ".jxc")
  files.write_bytes(pair.target, b"x")
  assert os.listdir(os.fsencode(tmp_path / "out")) == [b"caf\xe9.jxc"]
  with pytest.raises(DataError, match=r"caf\\xe9.flac: truncated"):
    open_source("folder", str(tmp_path), sample_rate=RATE)


@pytest.mark.parametrize("length", [240, 241, 248, 255])
def test_names_as_long_as_they_may_be(tmp_path, length):
  for letter in "ab":
    name = letter * (length - 4) + ".wav"
    files.write_bytes(tmp_path / name, letter.encode())
    assert (tmp_path / name).read_bytes() == letter.encode()
  assert len(os.listdir(tmp_path)) == 2
  names = {safe_name(f"{folder}/{'é' * length}") for folder in "ab"}
  assert len(names) == 2 and max(len(n.encode()) for n in names) < 220


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_accents_apart_from_their_letters(tmp_path, on_disk, in_table):
  write_tone(tmp_path / f"{unicodedata.normalize(on_disk, CAFE)}.wav")
  name = unicodedata.normalize(in_table, CAFE)
  (tmp_path / f"{name}.txt").write_text("Hi.")
  assert [text for *_, text in labels(tmp_path)] == ["Hi."]
  (tmp_path / "metadata.csv").write_text(f"{name}|Hello.\n", encoding="utf-8")
  assert labels(tmp_path) == [(name, "unknown", "Hello.")]


@pytest.mark.parametrize(
  "name", ["./wavs/a.wav", "wavs//a", r"wavs\a.wav", r".\wavs\a.wav", "wavs/x/../a.wav"]
)
def test_ways_to_write_a_path(tmp_path, name):
  root = make_set(tmp_path, f"{name}|Hi.\nwavs/b.wav|You.\n")
  assert [path.name for path in (i.path for i in list_folder(root)[0])] == [
    "a.wav",
    "b.wav",
  ]


@pytest.mark.parametrize("prefix", ["{root}", "/somewhere/else", r"C:\corpora\mine"])
def test_absolute_paths(tmp_path, prefix):
  there = prefix.format(root=tmp_path)
  lines = [f"{there}/{name}.wav|Say {name}." for name in ("ann/1", "bob/1")]
  root = make_set(tmp_path, "\n".join(lines), ("ann/1", "bob/1"))
  assert labels(root) == [
    ("ann/1.wav", "unknown", "Say ann/1."),
    ("bob/1.wav", "unknown", "Say bob/1."),
  ]
  (root / "ann" / "1.wav").unlink()
  items, problems = list_folder(root)
  assert [item.id for item in items] == ["bob/1.wav"] and len(problems) == 1


def test_links_to_folders_are_followed_once(tmp_path):
  root, outside = tmp_path / "root", tmp_path / "outside"
  for path in (root / "b" / "1.wav", root / "b" / "c" / "2.wav", outside / "3.wav"):
    write_tone(path)
  (root / "a").symlink_to(root / "b")  # before b in the order, and yet b is itself
  (root / "b" / "c" / "loop").symlink_to(root)
  (root / "d").symlink_to(outside)
  (root / "e").symlink_to(outside)
  (outside / "back").symlink_to(root / "b")
  (root / "gone").symlink_to(tmp_path / "nowhere")
  found = [str(path.relative_to(root)) for path in list_files(root)]
  assert found == ["b/1.wav", "b/c/2.wav", "d/3.wav", "gone"]
  pairs = file_tree.plan([root], tmp_path / "out", (".wav",), ".jxc")
  assert [p.target.name for p in pairs] == ["1.jxc", "2.jxc", "3.jxc"]
  (tmp_path / "link").symlink_to(root)
  assert len(list_files(tmp_path / "link")) == 4


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_line_ends_end_lines(tmp_path, end):
  texts = ["a\u2028b", "c\x85d", "e\vf", "g\fh", "i\u2029j"]
  names = [str(n) for n in range(len(texts))]
  rows = [f"{name}|{text}" for name, text in zip(names, texts, strict=True)]
  root = make_set(tmp_path, end.join(rows), names)
  assert [text for *_, text in labels(root)] == ["a b", "c d", "e f", "g h", "i j"]
  (root / "metadata.csv").unlink()
  (root / "9.trans.txt").write_bytes(
    end.join(r.replace("|", " ") for r in rows).encode()
  )
  assert [key for key, *_ in labels(root)] == names


@pytest.mark.parametrize(
  "table",
  [
    "audio_file|text|speaker_name\nwavs/a.wav|One, two.|ann\nwavs/b.wav|You.|bob\n",
    "audio_filepath|speaker-id|Text\nwavs/a.wav|ann|One, two.\nwavs/b.wav|bob|You.",
    'file_name,transcription,speaker\nwavs/a.wav,"One, two.",ann\nwavs/b.wav,You.,bob',
    "client_id\tpath\tsentence\tage\n"
    "ann\twavs/a.wav\tOne, two.\t\nbob\twavs/b.wav\tYou.\t",
    "\ufeffText|Raw|Speaker|Path\n"
    "One, two.|1, 2.|ann|wavs/a.wav\nYou.|U|bob|wavs/b.wav",
  ],
)
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.tsv"])
def test_headers_and_separators(tmp_path, table, name):
  assert labels(make_set(tmp_path, table, name=name)) == [
    ("wavs/a.wav", "ann", "One, two."),
    ("wavs/b.wav", "bob", "You."),
  ]


def test_commas_in_quotes_must_match(tmp_path):
  table = "file_name,text\nwavs/a.wav,One, two.\nwavs/b.wav,You.\n"
  items, problems = list_folder(make_set(tmp_path, table))
  assert [item.text for item in items] == ["You."]
  assert "metadata.csv:2: malformed: 3 fields separated by ','" in problems[0]["reason"]


def test_an_open_quote_takes_no_other_lines_with_it(tmp_path):
  table = 'file_name,text\nwavs/a.wav,"One, two.\nwavs/b.wav,He said "You."\n,\n'
  items, problems = list_folder(make_set(tmp_path, table))
  assert [item.text for item in items] == ['He said "You."']
  assert "metadata.csv:2: malformed: a quote stays open" in problems[0]["reason"]
  (tmp_path / "metadata.csv").write_text(f',,\na,"{"b" * 200_000}\n')
  items, problems = list_folder(tmp_path)
  assert not items and len(problems) == 2  # a header of nothing is none


def test_plain_list_of_files(tmp_path):
  root = make_set(tmp_path, "./wavs/b.wav\nwavs/a.wav\n")
  assert labels(root) == [
    ("wavs/b.wav", "unknown", None),
    ("wavs/a.wav", "unknown", None),
  ]


def test_path_of_a_list_or_table(tmp_path):
  outside = write_tone(tmp_path / "outside.wav")
  root = make_set(tmp_path / "set", f"ann/b.wav\n{outside}\n", ["ann/b"], "train.txt")
  source = open_source("folder", str(root / "train.txt"), sample_rate=RATE)
  assert [(u.id, u.speaker, u.text) for u in source.utterances] == [
    ("ann/b", "ann", None),
    (str(outside), "unknown", None),
  ]
  (root / "train.txt").write_text("path|text\nann/b.wav|Hi.\nann/c.wav|Ho.\n")
  with pytest.raises(DataError, match=r"train.txt:3: there is no file .*ann/c.wav"):
    open_source("folder", str(root / "train.txt"), sample_rate=RATE)


def test_a_list_of_files_beside_its_folder(tmp_path):
  for name in ("ann/1", "bob/2"):
    write_tone(tmp_path / "wavs" / f"{name}.wav")
  (tmp_path / "lists").mkdir()
  (tmp_path / "lists" / "all.txt").write_text("../wavs/ann/1.wav\n../wavs/bob/2.wav\n")
  source = open_source("folder", str(tmp_path / "lists/all.txt"), sample_rate=RATE)
  assert [utterance.speaker for utterance in source.utterances] == ["ann", "bob"]


def test_lab_beside(tmp_path):
  for name in "abc":
    write_tone(tmp_path / f"{name}.wav")
  (tmp_path / "a.lab").write_text("one two\n")
  (tmp_path / "b.lab").write_text("0 1200000 sil\n1200000 3100000 w\n")
  assert [text for *_, text in labels(tmp_path)] == ["one two", None, None]
  (tmp_path / "c.txt").write_text("Three.")
  (tmp_path / "c.lab").write_text("three")
  assert [text for *_, text in labels(pathlib.Path(tmp_path))] == [
    "one two",
    None,
    "Three.",
  ]
