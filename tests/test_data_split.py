"""The split: stable, disjoint, by sentence, with every speaker in training."""

import dataclasses
import json

import pytest
from data_helpers import RATE
from libri_trees import librispeech

from jaxcodec.data.source import DataError, Utterance, open_source
from jaxcodec.data.sources.scripts import list_utterances
from jaxcodec.data.split import make_split, read_split, split_by_folder, write_split


def utterances(count, *, text="This is sentence {}.", speakers=4):
  return [
    Utterance(f"u{i}", f"s{i % speakers}", text and text.format(i), 1.0)
    for i in range(count)
  ]


@pytest.mark.parametrize("text", [None, "This is sentence {}.", "yes"])
def test_parts_are_disjoint_and_of_about_the_asked_size(text):
  data = utterances(1000, text=text)
  split = make_split(data, seed=0, valid=0.1, test=0.2)
  assert sorted(sum(split.values(), [])) == list(range(1000))
  assert 70 < len(split["valid"]) < 130 and 160 < len(split["test"]) < 240
  assert split == make_split(data, seed=0, valid=0.1, test=0.2)
  assert split != make_split(data, seed=1, valid=0.1, test=0.2)


def test_new_files_move_no_others():
  names = lambda data, part: {data[i].id for i in part}  # noqa: E731
  few, many = utterances(300), list(reversed(utterances(600)))
  before, after = make_split(few, seed=3), make_split(many, seed=3)
  for part in before:
    assert names(few, before[part]) <= names(many, after[part])


def test_a_sentence_is_in_one_part():
  data = [
    Utterance(f"{speaker}{i}", speaker, f"{'  ' * i}Sentence, number {i % 40}", 1.0)
    for speaker in "abc"
    for i in range(80)
  ]
  split = make_split(data, seed=0, valid=0.2, test=0.2)
  parts = [{data[i].text.strip() for i in part} for part in split.values()]
  assert all(parts) and sum(map(len, parts)) == 40


def test_what_weights_of_the_package_have_heard_is_not_held_out():
  """The other sentences stay where they were."""
  data = utterances(1000)
  heard = [dataclasses.replace(u, was_heard=i % 5 == 0) for i, u in enumerate(data)]
  before, after = (make_split(one, seed=0) for one in (data, heard))
  for part in ("valid", "test"):
    assert after[part] == [i for i in before[part] if i % 5] != []
  mostly = [dataclasses.replace(u, was_heard=i % 5 > 0) for i, u in enumerate(data)]
  assert make_split(mostly, seed=0) == before


def test_the_open_script_says_what_was_heard():
  found = list_utterances("open", 4, 500)
  written = {text.text for text in list_utterances("sentences", 1)}
  assert {u.text for u in found if u.was_heard} == written and len(written) == 434
  assert all(u.was_heard for u in list_utterances("sentences", 4))
  assert not any(u.was_heard for u in list_utterances("matrix", 4, 50))


def test_pieces_of_a_recording_stay_together():
  data = [
    Utterance(f"talk{i}@{600 * piece}", "s", None, 600.0)
    for i in range(60)
    for piece in range(5)
  ]
  parts = make_split(data, seed=0, valid=0.2, test=0.2)
  talks = {
    part: {data[i].id.partition("@")[0] for i in found} for part, found in parts.items()
  }
  assert sum(map(len, talks.values())) == 60 and min(map(len, talks.values())) > 3


def test_a_split_is_read_back_or_a_missing_recording_is_named(tmp_path):
  data = utterances(50)
  split = make_split(data, seed=0)
  write_split(tmp_path / "split.json", data, split)
  turned = data[::-1]
  found = read_split(tmp_path / "split.json", turned)
  assert {p: {turned[i].id for i in found[p]} for p in found} == {
    p: {data[i].id for i in split[p]} for p in split
  }
  with pytest.raises(DataError, match=r"split.json lists aren't there, such as 'u49'"):
    read_split(tmp_path / "split.json", data[:-1])


def test_a_sentence_without_spaces_is_one_too():
  text = "\u4eca\u5929\u5929\u6c14\u5f88\u597d"
  data = [Utterance(f"{i}", f"s{i % 9}", f"{text}{i % 9}", 1.0) for i in range(90)]
  split = make_split(data, seed=0, valid=0.2, test=0.2)
  parts = [{data[i].text for i in part} for part in split.values()]
  assert all(parts) and sum(map(len, parts)) == 9


@pytest.mark.parametrize("count", [3, 5, 20])
def test_small_sets_have_every_part(count):
  split = make_split(utterances(count, speakers=1), seed=0, valid=0.01, test=0.01)
  assert min(map(len, split.values())) >= 1


def test_every_speaker_with_two_is_in_training():
  data = utterances(60, speakers=20)
  for seed in range(20):
    split = make_split(data, seed=seed, valid=0.3, test=0.3)
    assert {data[i].speaker for i in split["train"]} == {f"s{i}" for i in range(20)}


@pytest.mark.parametrize("shares", [(0, 0.1), (0.1, 0), (0.5, 0.5)])
def test_bad_shares(shares):
  with pytest.raises(DataError, match="must be above 0 and sum to below 1"):
    make_split(utterances(10), seed=0, valid=shares[0], test=shares[1])


def test_too_few():
  with pytest.raises(
    DataError, match="2 utterances with 2 different sentences are too"
  ):
    make_split(utterances(2), seed=0)
  with pytest.raises(DataError, match="9 utterances with 1 different sentences"):
    make_split(utterances(9, text="always the same words"), seed=0)


def test_written_as_lists_of_ids(tmp_path):
  data = utterances(50)
  split = make_split(data, seed=0)
  write_split(tmp_path / "split.json", data, split)
  written = json.loads((tmp_path / "split.json").read_text())
  assert written == {part: [data[i].id for i in split[part]] for part in split}
  assert [path.name for path in tmp_path.iterdir()] == ["split.json"]


FOLDERS = {"train": ("train-a", "train-b"), "valid": ("dev",), "test": ("test",)}


def _in_folders(*folders):
  return [Utterance(f"u{i}", "s", None, 1.0, folder=f) for i, f in enumerate(folders)]


def test_a_corpus_is_split_by_its_own_folders():
  data = _in_folders("train-a/1/2", "dev/3", "test", "Libri/train-b/4", "other/5", "")
  split = split_by_folder(data, FOLDERS)
  assert split == {"train": [0, 3], "valid": [1], "test": [2]}


def test_librispeech_has_its_parts_as_folders(tmp_path):
  parts = {"train": "train-clean-100", "valid": "dev-clean", "test": "test-clean"}
  librispeech(tmp_path, splits=tuple(parts.values()), each=4)
  source = open_source("folder", str(tmp_path), sample_rate=RATE)
  split = split_by_folder(source.utterances, {p: (f,) for p, f in parts.items()})
  for number, part in enumerate(parts):
    speakers = {source.utterances[i].speaker for i in split[part]}
    assert speakers == {f"{number}1".lstrip("0"), f"{number}2".lstrip("0")}
  assert source.utterances[0].folder == "dev-clean/11/7"


@pytest.mark.parametrize(
  "folders, changes, message",
  [
    (("train-a", "train-b", "test"), {}, "in dev; the folders at the top are test,"),
    (("train-a", "dev", "test"), {}, "no recording is in train-b"),
    (("train-a", "dev"), {"train": ("train-a",), "test": ()}, "is in test;"),
    (("dev",), {"test": ("dev",)}, "a folder is of two parts"),
    (("dev",), {"held_out": ("x",)}, "must name train, valid, test, got"),
  ],
)
def test_folders_that_give_no_split_are_named(folders, changes, message):
  with pytest.raises(DataError, match=message):
    split_by_folder(_in_folders(*folders), {**FOLDERS, **changes})
