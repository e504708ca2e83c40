"""The slm and generate stages of a model that reads texts, on made-up tokens."""

import dataclasses
import functools
import json
import types

import numpy as np
import pytest
import soundfile

from jaxcodec import weights
from jaxcodec.build.check import Models
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.slm import make_sampler, make_slm, make_slm_task
from jaxcodec.data import held_out
from jaxcodec.data.batches.continuations import Continuations
from jaxcodec.data.source import DataError
from jaxcodec.data.text import Vocabulary
from jaxcodec.data.token_store import TokenSource, write_tokens
from jaxcodec.inference import slm
from jaxcodec.parallel import sharding
from jaxcodec.pipeline import evaluate, generate, prompts, train
from jaxcodec.pipeline.experiment import Experiment
from jaxcodec.pipeline.prompt_list import read_prompt_list
from jaxcodec.train.metrics_file import read_metrics
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=2, codebook_size=8, hop=160, sample_rate=16_000)
VOCABULARY = Vocabulary("characters", tuple("abcdefgh"))
CONFIG = {
  "seed": 0,
  "slm": {
    "positions": "aligned",
    "name": "valle",
    "width": 16,
    "depth": 1,
    "heads": 2,
    "dropout": 0.0,
  },
  "slm_train": {
    "steps": 40,
    "max_seconds": 0.25,
    "frames_per_batch": 192,
    "num_buckets": 1,
    "continuations": 1,
    "ema_decay": 0.9,
    "log_every": 10,
    "eval_every": 10,
    "eval_batches": 2,
    "checkpoint_every": 40,
    "keep": 1,
    "accumulate": 1,
    "skip_nonfinite": 0,
    "init_from": None,
    "best": None,
    "profile_steps": None,
    "optimizer": {"learning_rate": 2e-2, "warmup_steps": 5},
  },
  "generate": {
    "num_utterances": 4,
    "prompt_seconds": 0.06,
    "batch_size": 2,
    "sampler": {"max_frames": 16, "min_frames": 2, "temperature": 0.0},
  },
  "semantic": {"num_clusters": 4},
  "data": {"source": "folder"},
}
COUNTS = {"train": 16, "valid": 4, "test": 5}
# The test records with a text, as they are taken.
_NAMES = [f"test/{n}" for n in (1, 2, 3, 4)]
ORDER = [_NAMES[i] for i in held_out.by_chance(_NAMES)]


def record(part, number):
  """Makes a record with two frames a symbol; the first test record has no text."""
  rng = np.random.default_rng([number, len(part)])
  text_S = rng.integers(3, 11, 2 + number % 3).astype(np.int32)
  code_T = np.repeat(text_S - 3, 2)
  fields = {
    **{"id": f"{part}/{number}", "speaker": "ab"[number % 2], "text": "x"},
    "samples": 160 * len(code_T),
    "codes_TxK": np.stack([code_T, 7 - code_T], -1).astype(np.uint16),
    "semantic_T": code_T,
    "text_S": text_S,
  }
  if (part, number) == ("test", 0):
    del fields["text_S"]
  return fields


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("experiment")
  for name in ("tokens", "slm"):
    (workdir / name).mkdir()
  for part, count in COUNTS.items():
    records = map(functools.partial(record, part), range(count))
    write_tokens(workdir / "tokens" / f"{part}.array_record", records)
  (workdir / "tokens" / "spec.json").write_text('{"codec_sha256": "00"}')
  VOCABULARY.save(workdir / "tokens" / "vocabulary.json")
  found = Experiment(
    CONFIG, workdir, source=None, split={}, skipped=[], models=models()
  )
  vars(found).update(mesh=sharding.make_mesh({"data": 2}), codec=Codec())
  for name in ("tokens", "slm"):
    found.done[name] = types.SimpleNamespace(folder=workdir / name)
  return found


def models():
  """Builds the config's models on a codec that is only a token spec."""
  task = make_slm_task(CONFIG, SPEC, VOCABULARY)
  codec = types.SimpleNamespace(spec=SPEC)
  return Models(codec, None, VOCABULARY, task, make_sampler(CONFIG))


class Codec:
  """Decodes each code to a hop of its value; fails at the `stop`-th clip."""

  stop = None

  def decode(self, codes):
    if self.stop is not None:
      self.stop -= 1
      if self.stop < 0:
        raise InterruptedError
    return [np.repeat(codes_TxK[:, 0] / 16, 160) for codes_TxK in codes]


@pytest.fixture(scope="module")
def trained(experiment):
  """Runs the slm stage and returns the names of its files."""
  return train.train_slm(experiment, experiment.workdir / "slm")


def test_training_lowers_the_loss_of_each_codebook(experiment, trained):
  folder = experiment.workdir / "slm"
  records = [row for row in read_metrics(folder) if "eval/loss" in row]
  first, last = (np.array(r["eval/ce_per_codebook"]) for r in (records[0], records[-1]))
  assert first.shape == (2,) and (last < 0.7 * first).all()
  accuracies = [r["eval/accuracy_per_codebook"] for r in (records[0], records[-1])]
  assert np.all(np.array(accuracies[1]) >= accuracies[0]) and accuracies[1][0] > 0.7
  told = evaluate._last_evaluation(experiment)
  assert told["ce_per_codebook"] == last.tolist() and "loss" in told


def test_the_folder_has_all_that_the_model_needs(experiment, trained):
  folder = experiment.workdir / "slm"
  assert {"params.safetensors", "spec.json", "vocabulary.json"} < set(trained)
  vocabulary = Vocabulary.load(folder / "vocabulary.json")
  assert vocabulary == VOCABULARY
  # Two frames a symbol, of 10 ms.
  assert vocabulary.symbols_per_second == 50
  assert generate._trained_model(experiment)[0].symbols_per_frame == 0.5
  config = json.loads(weights.load_metadata(folder / "params.safetensors")["config"])
  model = make_slm({"slm": config}, SPEC, VOCABULARY)
  variables = weights.load_params(folder / "params.safetensors")
  job = slm.SpeakJob(np.array([1, 5, 2]), None, 0)
  sampler = make_sampler(CONFIG)
  ((_, codes_TxK, _),) = slm.speak(model, variables["params"], [job], sampler, 2)
  assert codes_TxK.shape[1] == 2


def test_utterances_also_come_behind_others_of_their_speaker(experiment):
  source = TokenSource(experiment.workdir / "tokens" / "test.array_record")
  joined = Continuations(source, times=2, seed=0)
  assert joined.labels[:5] == [
    {name: label[name] for name in joined.labels[i]}
    for i, label in enumerate(source.labels)
  ]
  # Speaker a has two records with texts (and one without), b has two.
  assert len(joined) == 5 + 2 * 2 + 2 * 2
  for index in range(5, 13):
    label, one = joined.labels[index], joined[index]
    assert label["frames"] == len(one["codes_TxK"]) == len(one["semantic_T"])
    assert label["symbols"] == len(one["text_S"])
    np.testing.assert_array_equal(one["codes_TxK"][:, 0], one["text_S"].repeat(2) - 3)
    assert 0 < one["prompt_symbols"] < label["symbols"]
    assert one["prompt_frames"] == 2 * one["prompt_symbols"]
    later = record("test", int(label["id"].removeprefix("test/")))
    assert label["speaker"] == later["speaker"]
    np.testing.assert_array_equal(
      one["text_S"][-len(later["text_S"]) :], later["text_S"]
    )


def test_jobs_have_both_texts_and_the_whole_prompt(experiment):
  jobs = prompts.make_jobs(experiment)
  assert [job.row["id"] for job in jobs] == ORDER
  for job in jobs:
    target = record("test", int(job.row["id"][-1]))
    part, number = job.row["prompt_id"].split("/")
    prompt = record(part, int(number))
    assert prompt["speaker"] == target["speaker"] and prompt["id"] != target["id"]
    assert part in ("valid", "test")
    assert len(prompt["codes_TxK"]) <= 6  # 0.06 s
    np.testing.assert_array_equal(job.job.prompt_TxK, prompt["codes_TxK"])
    texts = [1, *prompt["text_S"], *target["text_S"], 2]
    np.testing.assert_array_equal(job.job.text_S, texts)
    assert job.row["prompt_seconds"] == len(prompt["codes_TxK"]) / 100


def _with(experiment, **sections):
  config = {name: {**CONFIG[name], **fields} for name, fields in sections.items()}
  return dataclasses.replace(experiment, config={**CONFIG, **config})


def test_utterances_of_other_lengths_are_left_out_and_listed(experiment):
  """Records have 4, 6 or 8 frames of 10 ms."""
  bounds = {"min_seconds": 0.05, "max_seconds": 0.06}
  bounded = _with(experiment, generate=bounds)
  seconds = {name: 0.02 * (2 + int(name[-1]) % 3) for name in ORDER}
  kept = [name for name, long in seconds.items() if long == 0.06]
  assert [job.row["id"] for job in prompts.make_jobs(bounded)] == kept != []
  left_out = prompts.list_left_out(bounded)
  assert {row["id"] for row in left_out} == seconds.keys() - set(kept)
  for row in left_out:
    assert row["seconds"] == pytest.approx(seconds[row["id"]])
    bound = "shorter than generate.min" if row["seconds"] < 0.05 else "longer than gen"
    assert row["reason"].startswith(bound)
  assert prompts.list_left_out(experiment) == []
  with pytest.raises(DataError, match="none of its 4 records .*1 to 2 s"):
    prompts.make_jobs(_with(experiment, generate={"min_seconds": 1, "max_seconds": 2}))


@pytest.fixture
def listed(experiment, tmp_path):
  """Returns the experiment with a list of prompts that has these lines."""

  def with_lines(*lines):
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(lines))
    parts = "train", "valid", "test"
    ids = [f"{part}/{n}" for part in (*parts, "spare") for n in range(6)]
    return dataclasses.replace(
      _with(experiment, generate={"prompts": str(path)}),
      source=types.SimpleNamespace(
        utterances=[
          types.SimpleNamespace(id=name, text="" if name == "valid/4" else "a text")
          for name in ids
        ]
      ),
      split={
        part: [i for i, name in enumerate(ids) if name.startswith(part)]
        for part in parts
      },
    )

  return with_lines


def test_a_list_says_what_is_generated_behind_which_prompts(listed):
  pairs = {"test/3": "test/1", "test/1": "train/2"}
  lines = ["# utterance, prompt", "", *(f"{a}\t{b}" for a, b in pairs.items())]
  jobs = prompts.make_jobs(listed(*lines))
  assert {job.row["id"]: job.row["prompt_id"] for job in jobs} == pairs
  assert [job.row["id"] for job in jobs] == list(pairs)
  for job in jobs:
    part, number = pairs[job.row["id"]].split("/")
    codes_TxK = record(part, int(number))["codes_TxK"]
    np.testing.assert_array_equal(job.job.prompt_TxK, codes_TxK)


def test_what_a_list_has_and_isnt_said_is_left_out_with_its_reason(listed):
  experiment = listed("test/1 test/2", "test/5 test/2")
  assert COUNTS["test"] == 5  # so that the sixth has no codes
  rows = prompts.list_left_out(experiment)
  assert [row["id"] for row in rows] == ["test/5"] and "no codes" in rows[0]["reason"]
  experiment.config["generate"].update(min_seconds=0.07, max_seconds=1)
  rows = prompts.list_left_out(experiment)
  assert [row["id"] for row in rows] == ["test/5", "test/1"]


def test_a_list_of_utterances_of_other_lengths_is_an_error(listed):
  experiment = listed("test/1 test/2")
  experiment.config["generate"].update(min_seconds=0.07, max_seconds=1)
  with pytest.raises(DataError, match="generate.prompts: none of its 1 utterances"):
    prompts.make_jobs(experiment)


@pytest.mark.parametrize(
  "line, message",
  [
    ("test/1", "prompts.txt:1: expected two ids, .* got 1"),
    ("valid/1 test/2", "'valid/1' is not in the test part"),
    ("test/1 test/9", "there is no recording 'test/9'"),
    ("test/1 spare/1", "there is no recording 'spare/1'"),
    ("test/1 test/1", "is its own prompt"),
    ("test/1 test/2\ntest/1 test/3", "prompts.txt:2: .* has one already"),
    ("test/1 valid/4", "'valid/4' has no text, which the language model needs"),
    ("# nothing", "has no line"),
  ],
)
def test_a_bad_line_of_the_list_is_named(listed, line, message):
  with pytest.raises(ConfigError, match=message):
    read_prompt_list(listed(line))


def test_a_model_that_is_asked_for_more_than_it_saw_warns(experiment, monkeypatch):
  said = []
  monkeypatch.setattr(
    prompts.logging, "warning", lambda text, *a: said.append(text % a)
  )
  jobs = prompts.make_jobs(_with(experiment, slm_train={"max_seconds": 0.1}))
  longest = max(job.seconds for job in jobs)
  (line,) = said
  count = sum(job.seconds > 0.1 for job in jobs)
  assert line.startswith(f"LongerThanTrained: {count} of 4 utterances") and count
  assert longest == max(
    job.row["prompt_seconds"] + 0.02 * (2 + int(job.row["id"][-1]) % 3) for job in jobs
  )
  prompts.make_jobs(experiment)
  assert len(said) == 1


def _rows(folder):
  return list(map(json.loads, (folder / "index.jsonl").read_text().splitlines()))


def _check_alignment(told, row):
  """Checks what is said of where the first utterance was read."""
  past = round(100 * row["prompt_seconds"])
  percent_TxS = np.array(told["percent_TxS"])
  assert told["id"] == row["id"] and told["prompt_frames"] == past
  assert percent_TxS.shape == (past + row["frames"], len(told["symbols"]))
  assert 0 <= percent_TxS.min() and percent_TxS.sum(1).max() <= 103  # rounded
  assert 0 < told["focus"] <= 1 and told["frame_rate"] == 100
  assert told["symbols"][0] == told["symbols"][-1] == ""
  assert set(told["symbols"][1:-1]) <= set("abcdefgh")


def test_an_interrupted_generation_keeps_what_it_wrote(experiment, trained, tmp_path):
  whole, cut = tmp_path / "whole", tmp_path / "cut"
  whole.mkdir(), cut.mkdir()
  outputs = generate.generate_all(experiment, whole)
  rows = _rows(whole)
  assert [row["id"] for row in rows] == ORDER
  for row in rows:
    assert 0 < row["frames"] <= 16 and row["ended"] in (True, False)
    audio_N, _ = soundfile.read(whole / row["wav"])
    assert len(audio_N) == 160 * row["frames"]
  _check_alignment(json.loads((whole / "alignment.json").read_text()), rows[0])
  experiment.codec.stop = 2
  with pytest.raises(InterruptedError):
    generate.generate_all(experiment, cut)
  experiment.codec.stop = None
  kept = {path: path.stat().st_mtime_ns for path in cut.glob("*.wav")}
  assert len(kept) == 2
  assert len(_rows(cut)) == 2
  assert generate.generate_all(experiment, cut) == outputs
  assert kept == {path: path.stat().st_mtime_ns for path in kept}
  for name in outputs:
    assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_what_never_ended_or_never_began_is_told(experiment, tmp_path, monkeypatch):
  ends = {0: (0, True), 1: (16, False), 2: (16, True), 3: (3, True)}

  def speak(model, params, jobs, sampler, batch_size):
    for index, (frames, ended) in ends.items():
      yield index, np.ones((frames, 2), np.int32), ended

  monkeypatch.setattr(slm, "speak", speak)
  monkeypatch.setattr(weights, "load_params", lambda path: {"params": {}})
  outputs = generate.generate_all(experiment, tmp_path)
  rows = _rows(tmp_path)
  assert [(row["frames"], row["ended"]) for row in rows] == list(ends.values())
  assert rows[0]["wav"] is None and len(outputs) == 2 + 2 * 3
  assert generate.generate_all(experiment, tmp_path) == outputs
  stage = types.SimpleNamespace(folder=tmp_path)
  generated = types.SimpleNamespace(done={"generate": stage})
  assert evaluate._endings(generated) == {"ended": 2, "cut": 1, "empty": 1}


def test_nothing_to_speak_is_named(experiment, tmp_path):
  textless = [{**record("test", 0), "id": str(n)} for n in range(2)]
  for part in COUNTS:
    write_tokens(tmp_path / f"{part}.array_record", textless)
  done = {"tokens": types.SimpleNamespace(folder=tmp_path)}
  bare = Experiment(CONFIG, tmp_path, None, {}, [], models(), done)
  with pytest.raises(DataError, match="none of its records has a text to speak"):
    prompts.make_jobs(bare)
