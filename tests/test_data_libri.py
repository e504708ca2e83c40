"""The listings of LibriTTS and Libri-Light; LibriSpeech's is in test_data_folder."""

import pathlib

import pytest
from libri_trees import librilight, librispeech, libritts

from jaxcodec.data.sources.layouts import list_folder


def labels(root):
  items, problems = list_folder(root)
  assert problems == []
  return [(item.id, item.speaker, item.text) for item in items]


def test_libritts(tmp_path):
  expected = [
    ("103_1241_000000_000000", "103", "Number 0, spoken."),
    ("103_1241_000000_000001", "103", "Number 1, spoken."),
    ("2149_1241_000000_000002", "2149", "Number 2, spoken."),
  ]
  assert labels(libritts(tmp_path)) == expected
  assert labels(tmp_path / "train-clean-100" / "103") == expected[:2]
  for path in tmp_path.rglob("*.normalized.txt"):
    path.unlink()
  assert labels(tmp_path)[0][2] == "No. 0, spoken."


def test_librilight(tmp_path):
  assert labels(librilight(tmp_path)) == [
    ("7/a_book_mp3/02_chapter", "7", None),
    ("100/a_book_mp3/00_chapter", "100", None),
    ("7/a_book_mp3/01_chapter", "7", None),
  ]


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (None, "02_chapter.json: is missing; every flac of Libri-Light has one"),
    ("{", "02_chapter.json: has no JSON with a 'speaker'"),
    ('{"snr": 3}', "02_chapter.json: has no JSON with a 'speaker'"),
    ('{"speaker": null}', "02_chapter.json: 'speaker' must be a name or number"),
  ],
)
def test_librilight_that_is_broken(tmp_path, content, reason):
  path = librilight(tmp_path) / "medium" / "7" / "a_book_mp3" / "02_chapter.json"
  path.unlink()
  if content is not None:
    pathlib.Path(path).write_text(content)
  items, problems = list_folder(tmp_path)
  assert len(items) == 2 and len(problems) == 1 and reason in problems[0]["reason"]


def test_librispeech_with_its_splits(tmp_path):
  found = labels(librispeech(tmp_path))
  assert len(found) == 12 and ("1-7-0001", "1", "SAY 1") in found
