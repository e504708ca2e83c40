"""Building TFDS sets from trees of speech: contents, interruption, reading back."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds
from data_helpers import RATE, tone, write_tone
from libri_trees import librilight, librispeech, libritts

from jaxcodec.cli import main
from jaxcodec.data.extras import MissingPackage
from jaxcodec.data.prepare import shard_writer
from jaxcodec.data.prepare.build import build
from jaxcodec.data.source import DataError, open_source

SMALL = 0.004  # megabytes: two or three tones


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
  return librispeech(tmp_path_factory.mktemp("libri") / "LibriSpeech")


@pytest.fixture(scope="module")
def built(tree, tmp_path_factory):
  out = tmp_path_factory.mktemp("out")
  return build(tree, out, name="tones", shard_mb=SMALL, processes=1)


def content(folder):
  return {
    path.relative_to(folder): path.read_bytes()
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_splits_and_manifest(tree, built):
  assert built.splits == {"dev_clean": 6, "train_clean_100": 6}
  assert built.folder.parts[-2:] == ("tones", "1.0.0") and built.shards == 4
  entries = {entry["id"]: entry for entry in lines(built.folder / "manifest.jsonl")}
  assert len(entries) == 12 and lines(built.folder / "failures.jsonl") == []
  entry = entries["11-7-0002"]
  assert entry["speaker"] == "11" and entry["sample_rate"] == RATE
  assert entry["seconds"] == soundfile.info(tree / entry["path"]).duration
  assert entry["path"].startswith("dev-clean/11/7/")
  assert (built.folder / entry["shard"]).is_file()
  assert sum(e["seconds"] for e in entries.values()) == pytest.approx(
    built.hours * 3600
  )


def test_both_readers_give_the_samples_back(tree, built):
  manifest = {entry["id"]: entry for entry in lines(built.folder / "manifest.jsonl")}
  out = built.folder.parents[1]
  ours = open_source(
    source="tfds",
    path=str(out),
    sample_rate=RATE,
    name="tones",
    split="train_clean_100",
  )
  by_id = {u.id: (i, u) for i, u in enumerate(ours.utterances)}
  theirs = tfds.data_source(
    "tones", data_dir=out, split="train_clean_100", try_gcs=False
  )
  again = tfds.builder_from_directory(built.folder).as_data_source("dev_clean")
  assert len(theirs) == len(by_id) == len(again) == 6
  for example in theirs:
    key = example["id"].decode()
    expected, _ = soundfile.read(tree / manifest[key]["path"], dtype="int16")
    assert example["audio"].dtype == np.int16
    np.testing.assert_array_equal(example["audio"], expected)
    index, utterance = by_id[key]
    np.testing.assert_array_equal(ours.audio(index, RATE), expected / np.float32(32768))
    assert utterance.text == example["text"].decode() == f"SAY {int(key[-4:])}"
    assert utterance.speaker == example["speaker"].decode() == key.split("-")[0]


def test_killed_and_started_again_gives_the_same_bytes(tree, built, tmp_path):
  command = [sys.executable, "-m", "jaxcodec"]
  command += ["data", "build", str(tree), "--out", str(tmp_path), "--processes=2"]
  process = subprocess.Popen(
    [*command, "--name=tones", f"--shard-mb={SMALL}"],
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )
  folder = tmp_path / "tones" / "1.0.0"
  deadline = time.monotonic() + 60
  while not list(folder.glob("shards/[!.]*.json")) and time.monotonic() < deadline:
    time.sleep(0.001)
  process.kill()
  process.wait()
  _wait_for_the_end_of(process.pid)
  (folder / ".tones-dev.1.part.array_record-00000-of-00009").write_bytes(b"half")
  resumed = build(tree, tmp_path, name="tones", shard_mb=SMALL, processes=1)
  assert resumed.kept_shards >= 1
  assert content(folder) == content(built.folder)


def _wait_for_the_end_of(group):
  """Waits until the workers have ended, which they do soon after their parent."""
  deadline = time.monotonic() + 10
  while time.monotonic() < deadline:
    try:
      os.killpg(group, 0)
    except ProcessLookupError:
      return
    time.sleep(0.01)
  os.killpg(group, signal.SIGKILL)
  raise AssertionError("workers outlived the build")


def test_what_is_damaged_or_changed_is_written_again(tmp_path):
  tree = librispeech(tmp_path / "in", splits=("train",))
  first = build(tree, tmp_path, name="a_set", shard_mb=SMALL, processes=1)
  before = content(first.folder)
  shard = sorted(first.folder.glob("*.array_record*"))[1]
  data = bytearray(shard.read_bytes())
  data[len(data) // 2] ^= 1
  shard.write_bytes(data)
  sorted(first.folder.glob("shards/[!.]*.json"))[0].write_text("{")
  again = build(tree, tmp_path, name="a_set", shard_mb=SMALL, processes=1)
  assert again.kept_shards == first.shards - 2 and content(first.folder) == before
  path = next(tree.rglob("*.flac"))
  soundfile.write(path, tone(0.11, hz=500), RATE)
  changed = build(tree, tmp_path, name="a_set", shard_mb=SMALL, processes=1)
  assert changed.kept_shards == first.shards - 1


def test_texts_that_come_later_come_in(tmp_path):
  paths = [write_tone(tmp_path / "in" / f"test_{name}.wav") for name in "abc"]
  bad = tmp_path / "in" / os.fsdecode(b"caf\xe9.wav")
  bad.write_bytes(paths[0].read_bytes())
  options = dict(name="a", shard_mb=1e-4, processes=1)
  first = build(tmp_path / "in", tmp_path, **options)
  assert first.splits == {"train": 4}
  manifest = lines(first.folder / "manifest.jsonl")
  assert r"caf\xe9.wav" in {entry["path"] for entry in manifest}
  paths[1].with_suffix(".txt").write_text("Two.")
  second = build(tmp_path / "in", tmp_path, **options)
  assert second.kept_shards == 0
  source = open_source("tfds", str(second.folder), sample_rate=RATE)
  assert sorted(str(u.text) for u in source.utterances) == ["None"] * 3 + ["Two."]
  assert {u.text for u in source.utterances} == {None, "Two."}


def test_what_a_package_was_missing_for_is_tried_again(tmp_path, monkeypatch):
  write_tone(tmp_path / "in" / "a.wav")
  write_tone(tmp_path / "in" / "b.wav")
  real = shard_writer.read_pieces

  def lacks(path, seconds):
    if path.name == "b.wav":
      raise MissingPackage("needs the package av")
    return real(path, seconds)

  options = dict(name="a", processes=1, on_error="skip")
  monkeypatch.setattr(shard_writer, "read_pieces", lacks)
  assert build(tmp_path / "in", tmp_path, **options).splits == {"train": 1}
  monkeypatch.undo()
  assert build(tmp_path / "in", tmp_path, **options).splits == {"train": 2}
  assert build(tmp_path / "in", tmp_path, **options).kept_shards == 1


def test_failures_are_counted_or_named(tmp_path, capsys):
  tree = librispeech(tmp_path / "in", splits=("train",))
  bad, other = sorted(tree.rglob("*.flac"))[:2]
  bad.write_bytes(bad.read_bytes()[:500])
  soundfile.write(other, tone(rate=8_000), 8_000)
  arguments = ["data", "build", str(tree), "--out", str(tmp_path), "--name=a_set"]
  assert main.main([*arguments, "--processes=1"]) == 2
  assert "1-7-000" in capsys.readouterr().err
  assert not list(tmp_path.rglob("*.array_record*"))
  assert main.main([*arguments, "--processes=1", "--on-error=skip"]) == 0
  assert "4 recordings (4 in train)" in capsys.readouterr().out
  folder = tmp_path / "a_set" / "1.0.0"
  failures = {failure["item"]: failure["reason"] for failure in lines(folder / FAILED)}
  assert len(failures) == 2
  assert "has 8000 Hz and the set 16000" in failures[str(other.relative_to(tree))]
  assert len(open_source("tfds", str(folder), sample_rate=RATE).utterances) == 4


FAILED = "failures.jsonl"


def test_a_split_or_shard_without_recordings(tmp_path):
  for name in "abcd":
    write_tone(tmp_path / "in" / f"{name}.wav")
  (tmp_path / "in" / "a.wav").write_bytes(b"RIFF")
  done = build(
    source=tmp_path / "in",
    out=tmp_path,
    name="a",
    shard_mb=1e-4,
    processes=1,
    on_error="skip",
  )
  assert done.shards == 4 and done.splits == {"train": 3}
  source = open_source("tfds", str(done.folder), sample_rate=RATE)
  assert len(source.utterances) == 3 and source.utterances[0].text is None
  for name in "bcd":
    (tmp_path / "in" / f"{name}.wav").write_bytes(b"")
  with pytest.raises(DataError, match="no usable recording"):
    build(tmp_path / "in", tmp_path, name="b", processes=1, on_error="skip")


def test_resampled(tmp_path):
  write_tone(tmp_path / "in" / "a.wav", rate=8_000)
  write_tone(tmp_path / "in" / "b.flac", rate=48_000)
  done = build(tmp_path / "in", tmp_path, name="a", sample_rate=RATE, processes=1)
  assert {e["sample_rate"] for e in lines(done.folder / "manifest.jsonl")} == {
    8_000,
    48_000,
  }
  for example in tfds.builder_from_directory(done.folder).as_data_source("train"):
    audio_N = example["audio"] / 32768
    np.testing.assert_allclose(audio_N[800:-800], tone()[800:-800], atol=2e-3)


def test_refused(tree, built, tmp_path):
  out = built.folder.parents[1]
  with pytest.raises(DataError, match="holds another build.* in resampled_to;"):
    build(tree, out, name="tones", shard_mb=SMALL, sample_rate=8_000)
  with pytest.raises(DataError, match="holds another build.* in recordings;"):
    build(tree / "dev-clean", out, name="tones", shard_mb=SMALL)
  with pytest.raises(DataError, match="set's name must be .*, got 'My-set'"):
    build(tree, tmp_path, name="My-set")
  with pytest.raises(DataError, match="'librispeech' .* TFDS's catalogue"):
    build(tree, tmp_path)
  with pytest.raises(DataError, match="processes must be positive, got 0"):
    build(tree, tmp_path, name="tones", processes=0)
  (tmp_path / "foreign" / "1.0.0").mkdir(parents=True)
  (tmp_path / "foreign" / "1.0.0" / "dataset_info.json").write_text("{}")
  with pytest.raises(DataError, match="was not made by this command"):
    build(tree, tmp_path, name="foreign")
  write_tone(tmp_path / "mixed" / "test" / "a.wav")
  write_tone(tmp_path / "mixed" / "extra" / "b.wav")
  with pytest.raises(DataError, match="test is a split, but extra beside it is not"):
    build(tmp_path / "mixed", tmp_path, name="mixed")


def test_libritts_and_librilight(tmp_path):
  tts = build(libritts(tmp_path / "tts"), tmp_path, processes=1)
  entry = lines(tts.folder / "manifest.jsonl")[0]
  assert tts.splits == {"train_clean_100": 3} and entry["sample_rate"] == 24_000
  light = build(librilight(tmp_path / "light"), tmp_path, processes=1)
  assert light.splits == {"medium": 1, "small": 2}
  for folder, path in ((tts.folder, tmp_path / "tts"), (light.folder, tmp_path)):
    for split in json.loads((folder / "dataset_info.json").read_text())["splits"]:
      source = tfds.builder_from_directory(folder).as_data_source(split["name"])
      assert ("text" in source[0]) == (path.name == "tts")


@pytest.mark.parametrize("corpus", ["ljspeech_mini", "fsdd"])
def test_real_speech(corpus, request, tmp_path):
  root = request.getfixturevalue(corpus)
  for path in sorted(root.glob("wavs/*.flac"))[:12]:
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
  done = build(tmp_path / "in", tmp_path, name=corpus, processes=1)
  for example in tfds.builder_from_directory(done.folder).as_data_source("train"):
    path = root / "wavs" / f"{example['id'].decode()}.flac"
    expected, _ = soundfile.read(path, dtype="int16")
    np.testing.assert_array_equal(example["audio"], expected)
