"""The benchmark for an accelerator runs whole on a CPU, with little installed."""

import dataclasses
import json
import os
import subprocess
import sys

import compile_flags
import pytest
from test_configs import ROOT, load

from jaxcodec.build.codec import make_codec, make_codec_task
from jaxcodec.build.slm import make_slm
from jaxcodec.build.text import make_vocabulary
from jaxcodec.pipeline.experiment import plain

# What an experiment needs and this must not.
_ABSENT = "soundfile soxr grain tensorflow_datasets librosa clu ml_collections tqdm"
_ABSENT += " array_record matplotlib pandas torch jinja2 markupsafe PIL"
_WITHOUT = f"""
import importlib.abc, runpy, sys
class Absent(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path=None, target=None):
    if name.split(".")[0] in {_ABSENT.split()!r}:
      raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, "benchmarks")
runpy.run_path("benchmarks/accelerator.py", run_name="__main__")
"""


# Programs that differ from others in nothing but the batch, and take long to compile.
_ALIKE = "train dac", "train dac larger", "train valle larger"
_ALIKE += "decode valle larger", "decode maskgit larger"


@pytest.mark.slow
def test_each_kind_of_part_runs_tiny(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(ROOT / "benchmarks")
  import accelerator

  parts = ",".join(name for name, _ in accelerator.PARTS if name not in _ALIKE)
  options = ["--tiny", "--minutes=30", f"--out={tmp_path}", f"--parts={parts}"]
  command = [sys.executable, "-c", _WITHOUT, *options]
  env = {**os.environ, "XLA_FLAGS": compile_flags.FAST}
  done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / "results.json").read_text())
  wrong = [part for part in found["parts"] if part["status"] != "done"]
  assert not wrong, "\n".join(part.get("traceback", part["status"]) for part in wrong)
  rows = {row["what"]: row for part in found["parts"] for row in part["rows"]}
  assert rows["dac, precision highest"]["same_codes"] == 1
  assert rows["maskgit, 2 rows, remat none"]["flops"] > 0
  assert found["longest_compile"]["compile_s"] > 0
  table = (tmp_path / "results.md").read_text()
  assert all(f"| {part['part']} |" in table for part in found["parts"])


def test_a_part_that_fails_ends_alone_and_time_ends_the_run(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(ROOT / "benchmarks")
  import accelerator
  import accelerator_sizes

  run = accelerator.Run(accelerator_sizes.TINY, 1.0, tmp_path)
  run.measure("broken", "accelerator_basics:nothing")
  run.measure("device", "accelerator_basics:device")
  run = accelerator.Run(accelerator_sizes.TINY, 0.0, tmp_path / "late")
  run.measure("device", "accelerator_basics:device")
  read = lambda path: [  # noqa: E731
    part["status"].partition(":")[0]
    for part in json.loads((path / "results.json").read_text())["parts"]
  ]
  assert read(tmp_path) == ["failed", "done"]
  assert read(tmp_path / "late") == ["no time"]


def test_larger_batches_keep_less_until_none_fits(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(ROOT / "benchmarks")
  import accelerator
  import accelerator_sizes
  import accelerator_training as training

  most, tried = {"none": 2, "products": 4, "full": 4}, []

  def step(run, name, what, rows, mode):
    tried.append((rows, mode))
    return rows <= most[mode]

  monkeypatch.setattr(training, "_step", step)
  run = accelerator.Run(accelerator_sizes.TINY, 1.0, tmp_path)
  training._steps(run, "maskgit", 2, (1, 2, 4, 8))
  kept = [(2, "none"), (4, "none"), (4, "products"), (8, "products"), (8, "full")]
  assert tried == kept


@pytest.mark.parametrize("slm", ["maskgit", "valle"])
def test_the_full_sizes_are_those_of_the_recipes(slm, monkeypatch):
  monkeypatch.syspath_prepend(ROOT / "benchmarks")
  import accelerator_sizes
  import accelerator_training as training

  sizes = accelerator_sizes.FULL
  config = load(ROOT / "configs" / f"dac_{slm}.py", "")
  train = config.slm_train
  frames = round(train.get("crop_seconds", train.get("max_seconds")) * 50)
  assert sizes.window_frames == frames
  if slm == "maskgit":
    assert sizes.windows == train.batch_size
  else:
    assert sizes.utterances == train.frames_per_batch // frames
    assert sizes.symbols == config.text.max_symbols + 2  # between begin and end
    config.text.front_end = "characters"
    config = plain(config)
    theirs = make_slm(config, training.SPEC, make_vocabulary(config))
    ours = training.language_model(sizes, slm, config["slm"]["remat"])
    assert dataclasses.replace(ours, num_text=theirs.num_text) == theirs
    return
  config = plain(config)
  spec = make_codec(config).spec
  assert spec == training.SPEC
  ours = training.language_model(sizes, slm, config["slm"]["remat"])
  assert ours == make_slm(config, spec)
  task = make_codec_task(config)
  assert sizes.crops == config["codec_train"]["batch_size"]
  samples = config["codec_train"]["crop_seconds"] * spec.sample_rate
  assert sizes.crop_samples == samples // spec.hop * spec.hop
  ours = training.codec_task(sizes, "dac")
  for field in ("weights", "mel_scales", "adversarial_start"):
    assert getattr(ours, field) == getattr(task, field)
  fields = {name: getattr(task.discriminator, name) for name in ("dtype", "remat")}
  assert ours.discriminator.clone(**fields) == task.discriminator
