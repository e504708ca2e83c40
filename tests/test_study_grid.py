"""The grid: its plan, its cells run by a stand-in for launch/main.py, shared codecs."""

import dataclasses
import itertools
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import textwrap

import pytest
from study_helpers import plan, write_cells, write_sounds

from jaxcodec import presets, stages
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.sizes import part_sizes
from jaxcodec.pipeline import use_codec_of
from jaxcodec.recipes import config_file
from jaxcodec.study import grid, resources, runner

# Fails where its workdir says so; writes down what it was run with.
PROGRAM = """
import pathlib, sys
values = dict(arg.lstrip("-").split("=", 1) for arg in sys.argv[1:])
workdir = pathlib.Path(values["workdir"])
workdir.mkdir(parents=True, exist_ok=True)
(workdir / "ran").write_text(values["config.stages"])
if "encodecq_dac-s0" in str(workdir):
  print("loading")
  sys.exit("error: data.path: no such folder")
"""


@pytest.fixture
def program(tmp_path):
  path = tmp_path / "main.py"
  path.write_text(PROGRAM)
  return str(path)


def test_codecs_come_before_what_uses_them_and_are_shared(tmp_path):
  cells = plan(tmp_path, seeds=[0, 1])
  assert len(cells) == 2 * 4 * 3 and len({cell.name for cell in cells}) == len(cells)
  seen = set()
  for cell in cells:
    assert set(cell.needs) <= seen
    seen.add(cell.name)
  by_name = {cell.name: cell for cell in cells}
  assert all(
    (f"--keep_measures_in={tmp_path / 'measured'}" in cell.command) == bool(cell.slm)
    for cell in cells
  )
  user, own = by_name["dac-other-s1"], by_name["dac-s1"]
  assert f"--codec_from={own.workdir}" in user.command
  assert "--config=configs/b.py:runlocal,codec=dac" in user.command
  assert "--config=configs/a.py:runlocal,codec=dac" in own.command
  assert "--config.stages=codec,tokens" in own.command
  for cell in (user, own):
    assert {"--config.seed=1", "--config.data.source=folder"} <= set(cell.command)


FROZEN = {
  "design": "frozen",
  "frozen": {"tokens": ["dacq_vocos", "encodecq_vocos"], "decoders": ["vocos", "dac"]},
}


def test_decoders_speak_what_a_language_model_generated_once(tmp_path):
  cells = plan(tmp_path, **FROZEN)
  assert len(cells) == 2 * (1 + 2 + 2 * (1 + 2))
  by_name, seen = {cell.name: cell for cell in cells}, set()
  for cell in cells:
    assert set(cell.needs) <= seen
    seen.add(cell.name)
  folder = tmp_path / "cells"
  trained = by_name["dacq_vocos+dac-s0"]
  assert trained.needs == ("dacq_vocos-s0",) and trained.design is None
  expected = {
    f"--tokens_from={folder / 'dacq_vocos-s0'}",
    f"--config.codec_train.init_from={folder / 'dacq_vocos-s0'}",
    '--config.codec_train.freeze=("encoder","quantizer")',
    "--config.stages=codec",
    "--config=configs/a.py:runlocal,codec=dacq_vocos+dac",
  }
  assert expected <= set(trained.command)
  spoken = by_name["dacq_vocos+dac-other-s0"]
  assert spoken.needs == ("dacq_vocos+dac-s0", "dacq_vocos-other-s0")
  assert f"--slm_from={folder / 'dacq_vocos-other-s0'}" in spoken.command
  assert f"--codec_from={folder / 'dacq_vocos+dac-s0'}" in spoken.command
  assert "--config.stages=generate,evaluate,report" in spoken.command
  once = by_name["dacq_vocos-other-s0"]
  assert "--config.stages=slm,generate" in once.command and once.design is None


def test_decoders_for_given_tokens_have_overrides_of_their_own(tmp_path):
  name = "codec_train.steps"
  for cell in plan(tmp_path, overrides=[f"{name}=3", f"decoders:{name}=9"], **FROZEN):
    assert cell.overrides[0] == f"{name}={9 if '+' in cell.codec else 3}"


def test_both_designs_share_the_cells_that_they_have_in_common(tmp_path):
  joint, frozen = plan(tmp_path), plan(tmp_path, **FROZEN)
  both = plan(tmp_path, **FROZEN | {"design": "both"})
  names = [{cell.name for cell in cells} for cells in (joint, frozen, both)]
  assert names[2] == names[0] | names[1] and len(both) == len(names[2])
  (shared,) = (cell for cell in both if cell.name == "dacq_vocos-other-s0")
  assert shared.design == "joint" and shared.last == "evaluate"


def test_the_dry_run_is_a_shell_command_a_cell(tmp_path):
  cells = plan(tmp_path / "a b")
  *lines, last = grid.as_lines(cells, "python launch/study.py").splitlines()
  assert len(lines) == len(cells) and "--collect" in last
  for line, cell in zip(lines, cells, strict=True):
    assert shlex.split(line, comments=True) == ["python", *cell.command]
    assert line.endswith(
      f"after {' and '.join(cell.needs)}" if cell.needs else cell.name
    )


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"codecs": []}, "codecs: expected one or more"),
    ({"seeds": [1, 1]}, "seeds: .* each once"),
    ({"design": "cold"}, "design: expected one of joint, frozen, both, got 'cold'"),
    (FROZEN | {"frozen": {"tokens": []}}, "frozen.tokens: expected one or more"),
    ({"codecs_of": "valle"}, "codecs_of: 'valle' is none"),
    ({"overrides": ["seed=3"]}, "overrides: .*'seed=3'"),
    (
      {"overrides": ["third:slm_train.steps=3"]},
      "one of maskgit, other, .*got 'third:",
    ),
    ({"overrides": ["data.path"]}, "overrides: .*'data.path'"),
    ({"listening": {"sentences": -1}}, "listening.sentences: expected 0 or more"),
  ],
)
def test_bad_settings_are_named(tmp_path, changes, message):
  with pytest.raises(grid.StudyError, match=message):
    plan(tmp_path, **changes)


def test_a_failed_cell_is_named_and_the_others_run(tmp_path, program):
  cells = [
    dataclasses.replace(cell, command=(program, *cell.command[1:]))
    for cell in plan(tmp_path, codecs=["encodecq_dac", "dac"])
  ]
  said = []
  status = runner.run_cells(cells, tmp_path, said.append)
  states = {name: one["state"] for name, one in status.items()}
  assert states == {
    "encodecq_dac-s0": "failed",
    "encodecq_dac-maskgit-s0": "not run",
    "encodecq_dac-other-s0": "not run",
    "dac-s0": "done",
    "dac-maskgit-s0": "done",
    "dac-other-s0": "done",
  }
  reason = status["encodecq_dac-s0"]["reason"]
  assert reason.startswith("error: data.path: no such folder (exit code 1; ")
  assert "encodecq_dac-s0 failed: error:" in status["encodecq_dac-other-s0"]["reason"]
  assert runner.read_status(tmp_path) == status
  ran = (tmp_path / "cells" / "dac-other-s0" / "ran").read_text()
  assert ran == "slm,generate,evaluate,report"
  assert sum("failed" in line for line in said) == 3


# Notes when it runs, on which cores and with which GPUs, and takes a while.
_SLOW = """
import json, os, pathlib, sys, time
values = dict(arg.lstrip("-").split("=", 1) for arg in sys.argv[1:])
workdir = pathlib.Path(values["workdir"])
workdir.mkdir(parents=True, exist_ok=True)
start = time.monotonic()
time.sleep(0.4)  # it is pinned meanwhile
gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
found = dict(start=start, end=time.monotonic(), gpus=gpus)
found["cores"] = sorted(os.sched_getaffinity(0))
(workdir / "ran").write_text(json.dumps(found))
"""


_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@pytest.mark.skipif(len(_CORES) < 2, reason="needs two cores, and Linux")
def test_cells_run_at_once_on_shares_of_the_machine(tmp_path, monkeypatch):
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
  program = tmp_path / "main.py"
  program.write_text(_SLOW)
  cells = [
    dataclasses.replace(cell, command=(str(program), *cell.command[1:]))
    for cell in plan(tmp_path, codecs=["encodecq_dac", "dac"])
  ]
  status = runner.run_cells(cells, tmp_path, jobs=2)
  assert {one["state"] for one in status.values()} == {"done"}
  ran = {c.name: json.loads((c.workdir / "ran").read_text()) for c in cells}
  for cell in cells:
    for needed in cell.needs:
      assert ran[needed]["end"] <= ran[cell.name]["start"]
  most = max(
    sum(a["start"] <= b["start"] < a["end"] for a in ran.values()) for b in ran.values()
  )
  assert most == 2
  shares = {("3", tuple(_CORES[::2])), ("5", tuple(_CORES[1::2]))}
  assert {(one["gpus"], tuple(one["cores"])) for one in ran.values()} == shares


def test_more_jobs_than_cores_share_all_of_them(monkeypatch):
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  assert list(resources.shares(1)) == [((), ())]
  monkeypatch.setattr(resources, "_NVIDIA", pathlib.Path("nowhere"))
  assert {share.cores for share in resources.shares(4096)} == {()}


def test_two_jobs_do_not_share_a_gpu(monkeypatch, tmp_path):
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
  with pytest.raises(grid.StudyError, match="jobs: .* there are 1, got 2"):
    list(resources.shares(2))
  for variable, value in (("CUDA_VISIBLE_DEVICES", "-1"), ("JAX_PLATFORMS", "cpu")):
    with monkeypatch.context() as patch:
      patch.setenv(variable, value)
      assert [share.gpus for share in resources.shares(2)] == [(), ()]
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
  monkeypatch.delenv("JAX_PLATFORMS", raising=False)
  for name in ("a", "b", "c"):
    (tmp_path / name).mkdir()
  monkeypatch.setattr(resources, "_NVIDIA", tmp_path)
  assert [share.gpus for share in resources.shares(2)] == [("0", "2"), ("1",)]


def test_an_error_leaves_no_cell_running(tmp_path):
  program = tmp_path / "main.py"
  program.write_text(_SLOW)
  cells = [
    dataclasses.replace(cell, command=(str(program), *cell.command[1:]), needs=())
    for cell in plan(tmp_path, codecs=["dac"])
  ]

  def say(line):
    if line.startswith("[2/"):
      raise BrokenPipeError

  with pytest.raises(BrokenPipeError):
    runner.run_cells(cells, tmp_path, say, jobs=2)
  assert not (cells[0].workdir / "ran").exists()  # it was stopped, and waited for


def test_a_signal_is_passed_on_once_and_waited_for(tmp_path):
  """The signal reaches the cell once, and the study ends after it."""
  cell = tmp_path / "cell.py"
  cell.write_text(
    textwrap.dedent("""
      import pathlib, signal, sys, time
      folder = pathlib.Path(sys.argv[1])
      def stop(number, frame):
        with open(folder / "signals", "a") as file:
          file.write(f"{number}\\n")
      signal.signal(signal.SIGTERM, stop)
      (folder / "ready").touch()
      while not (folder / "signals").exists():
        time.sleep(0.01)
      time.sleep(0.1)
      (folder / "saved").touch()
      sys.exit(143)
    """)
  )
  study = textwrap.dedent(f"""
    import pathlib
    from jaxcodec.study import grid, runner
    folder = pathlib.Path({str(tmp_path)!r})
    command = ({str(cell)!r}, str(folder))
    cell = grid.Cell("a", "dac", None, 0, (), folder, "", command)
    runner.run_cells([cell], folder)
  """)
  process = subprocess.Popen([sys.executable, "-c", study], env=dict(os.environ))
  while not (tmp_path / "ready").exists():
    assert process.poll() is None
  process.send_signal(signal.SIGTERM)
  assert process.wait(20) == 143
  assert (tmp_path / "saved").exists()
  assert (tmp_path / "signals").read_text() == "15\n"
  assert not (tmp_path / runner.STATUS).exists()


ROOT = pathlib.Path(grid.__file__).parents[2]


def test_seeds_are_added():
  settings = {"seeds": [0], "arg": "runlocal"}
  assert grid.with_seeds(settings, ["2", "1"]) == settings | {"seeds": [0, 2, 1]}
  assert grid.with_seeds(settings | {"seeds": [0, 2]}, ["2", "1"])["seeds"] == [0, 2, 1]
  with pytest.raises(grid.StudyError, match="add_seeds: .*integers, got 'x'"):
    grid.with_seeds(settings, ["x"])


def test_a_language_model_has_values_of_its_own(tmp_path):
  both = ["data.path=a:b=c", "other:slm_train.max_seconds=9"]
  for cell in plan(tmp_path, overrides=both):
    assert "--config.data.path=a:b=c" in cell.command
    own = "--config.slm_train.max_seconds=9" in cell.command
    assert own == (cell.slm == "other")


def test_the_last_value_of_a_field_counts(tmp_path):
  values = ("valid=('a',)", "test=('b',)", "valid=('c',)")
  for cell in plan(tmp_path, overrides=[f"data.folders.{value}" for value in values]):
    found = [arg for arg in cell.command if "folders" in arg]
    assert found == [
      f"--config.data.folders.{value}" for value in (values[2], values[1])
    ]


@pytest.mark.parametrize(
  ("override", "message"),
  [
    ("slm_train.steps=9", "slm_train.optimizer: warmup_steps must be below steps"),
    ("codec_train.stepz=4", "overrides: 'codec_train.stepz' is no field of"),
    (
      "valle:slm_train.crop_seconds=4",
      "overrides: 'slm_train.crop_seconds' is no field",
    ),
  ],
)
def test_what_a_cell_would_refuse_is_refused_first(override, message):
  command = [sys.executable, "launch/study.py", "--config=configs/study.py:runlocal"]
  done = subprocess.run(
    [*command, "--dry_run", f"--set={override}"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith(f"error: {message}")


def test_collected_codecs_have_their_parts_sizes(tmp_path):
  study = "configs/study.py:runlocal"
  chosen = json.loads(config_file.load(f"{ROOT}/{study}").to_json())
  cells = grid.plan(chosen, tmp_path, "launch/main.py")
  broken = {"codec": {**presets.preset("dac"), "encoder": {"name": "of the past"}}}
  *new, (old, *_) = itertools.groupby(cells, lambda cell: cell.codec)
  for cell in cells:
    changed = {"config": broken} if cell.codec == old else {}
    write_cells([cell], **changed)
  write_sounds(cells)
  command = [sys.executable, "launch/study.py", f"--config={study}", "--collect"]
  done = subprocess.run(
    [*command, f"--workdir={tmp_path}"], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  codecs = json.loads((tmp_path / "study.json").read_text())["codecs"]
  assert codecs[old]["sizes"] == {}
  for name, _ in new:
    assert codecs[name]["sizes"] == part_sizes({"codec": presets.preset(name)})


@pytest.mark.parametrize("corpus", ["librispeech", "libritts", "librilight"])
def test_a_corpus_is_read_by_its_own_parts_and_texts(corpus):
  study = config_file.load(f"{ROOT}/configs/study.py:{corpus},runlocal")
  settings = json.loads(study.to_json())
  assert settings["codecs_of"] in settings["slms"]
  assert ("valle" in settings["slms"]) == (corpus != "librilight")
  for slm, file in settings["slms"].items():
    overrides = grid.overrides_of(settings, slm, "dac")
    config = config_file.load(f"{ROOT}/{file}:runlocal", overrides)
    assert config.semantic.name == "hubert" and config.data.source == "folder"
    held_out = ("test-clean",) if corpus != "librilight" else ()
    assert config.data.folders.test == held_out
    assert ("wer" in config.evaluate.generation) == bool(held_out)


def test_one_corpus_at_most():
  with pytest.raises(
    ValueError, match="one corpus at most, got .'librispeech', 'libri"
  ):
    config_file.load(f"{ROOT}/configs/study.py:librispeech,libritts")


def _finish(folder, name, content="x"):
  def work(stage):
    (stage / "out").write_text(content)
    return ["out"]

  stages.run_stage(folder, name, {}, work)


def test_a_codec_is_linked_not_copied(tmp_path):
  source, workdir = tmp_path / "study" / "dac", tmp_path / "study" / "dac-maskgit"
  _finish(source, "codec")
  with pytest.raises(ConfigError, match="'tokens' is not complete"):
    use_codec_of(source, workdir)
  _finish(source, "tokens")
  for _ in range(2):
    use_codec_of(source, workdir)
  assert stages.load_stage(workdir, "tokens").outputs
  # Both move together.
  (tmp_path / "study").rename(tmp_path / "elsewhere")
  moved = tmp_path / "elsewhere" / "dac-maskgit"
  assert stages.load_stage(moved, "codec") is not None
  _finish(tmp_path / "own", "codec")
  with pytest.raises(ConfigError, match="has a 'codec' of its own"):
    use_codec_of(tmp_path / "elsewhere" / "dac", tmp_path / "own")


def test_progress_bars_do_not_hide_the_reason(tmp_path):
  log = tmp_path / "log"
  log.write_text("start\n 10%\r 20%\rerror: it broke\n\n")
  assert runner.last_line(log) == "error: it broke"
  log.write_text("")
  assert runner.last_line(log) == "no output"
  log.write_text(json.dumps({"a": 1}))
  assert runner.last_line(log) == '{"a": 1}'
