"""The grid: its plan, its cells run by a stand-in for launch/main.py, shared codecs."""

import dataclasses
import json
import os
import pathlib
import runpy
import shlex
import signal
import subprocess
import sys
import textwrap

import pytest
from study_helpers import CODEC_TRAIN, fake_config, plan

from jaxcodec import stages
from jaxcodec.build.codec import make_codec, with_defaults
from jaxcodec.build.fields import ConfigError
from jaxcodec.pipeline import use_codec_of
from jaxcodec.recipes.args import literal
from jaxcodec.study import conditions, grid, runner

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
    ({"overrides": ["third:slm_train.steps=3"]}, "one of maskgit, other, got 'third:"),
    ({"overrides": ["data.path"]}, "overrides: .*'data.path'"),
    ({"listening": {"sentences": -1}}, "listening.sentences: expected 0 or more"),
  ],
)
def test_bad_settings_are_named(tmp_path, changes, message):
  with pytest.raises(grid.StudyError, match=message):
    plan(tmp_path, **changes)


def specs(configs):
  """Returns the token spec of every config's codec, as in results.json."""
  found = {n: make_codec({"codec": c["codec"]}).spec for n, c in configs.items()}
  return {
    name: {
      "num_codebooks": spec.num_codebooks,
      "frame_rate": spec.frame_rate,
      "bitrate": spec.bitrate,
    }
    for name, spec in found.items()
  }


def _configs(*names):
  return {name: fake_config(name) for name in names}


def _check(configs):
  written_out = {name: with_defaults(config) for name, config in configs.items()}
  return conditions.check_matched(written_out, specs(configs))


def test_rows_may_differ_in_their_parts_alone():
  configs = _configs("baseline", "encodecq_vocos", "dacq_vocos", "simvq_vocos")
  assert _check(configs) == ([], [], [])
  configs |= _configs("dac", "encodec")
  *others, encoder = _check(configs)
  assert others == [[], []]
  lstm = "codec.encoder.lstm_layers: 0 in baseline, encodecq_vocos, dacq_vocos and 1"
  assert any(line.startswith(lstm) and "2 in encodec" in line for line in encoder)


@pytest.mark.parametrize(
  ("part", "field", "value", "message"),
  [
    ("quantizer", "num_codebooks", 4, "tokens.kbps: 4.0 in dac, baseline; 2.0 in enco"),
    ("quantizer", "dropout_per", "batch", 'dropout_per: "item" in dac, baseline; "ba'),
    ("quantizer", "loss_reduction", "mean", 'loss_reduction: "sum" in dac, .*; "mean"'),
    ("quantizer", "dropout", 1.0, "quantizer.dropout: 0.5 in dac, baseline; 1.0 in e"),
    ("quantizer", "decay", 0.9, "quantizer.decay: 0.99 in baseline; 0.9 in encodecq"),
    ("decoder", "mlp_width", 8, "decoder of vocos.mlp_width: 8 in encodecq_vocos; 15"),
  ],
)
def test_what_else_rows_differ_in_is_told(part, field, value, message):
  configs = _configs("dac", "baseline", "encodecq_vocos", "dacq_vocos")
  configs["encodecq_vocos"]["codec"][part][field] = value
  if part == "quantizer":
    del configs["dacq_vocos"]
  with pytest.raises(grid.StudyError, match=message):
    _check(configs)


def test_every_difference_in_training_is_told():
  configs = _configs("dac", "encodec")
  configs["encodec"]["codec_train"] = CODEC_TRAIN | {"steps": 9, "batch_size": 2}
  configs["encodec"]["evaluate"] = {"num_utterances": 10, "opus": True}
  with pytest.raises(grid.StudyError) as error:
    _check(configs)
  assert str(error.value).splitlines()[1:] == [
    "  codec_train.batch_size: 4 in dac; 2 in encodec",
    "  codec_train.steps: 3 in dac; 9 in encodec",
    "  evaluate.opus: (absent) in dac; true in encodec",
  ]


def test_a_language_model_is_compared_with_itself():
  configs = _configs("dac", "dacq_vocos", "baseline")
  for (name, config), slm in zip(configs.items(), "aab", strict=True):
    config["slm"] = {"name": slm, "width": len(slm) if name != "baseline" else 9}
  assert not conditions.compare(configs, specs(configs)).training
  configs["dac"]["slm"]["width"] = 2
  found = conditions.compare(configs, specs(configs)).training
  assert found == ["slm of a.width: 2 in dac; 1 in dacq_vocos"]


def test_a_codec_without_codebooks_matches_by_its_bitrate():
  """FSQ's config has levels instead of a codebook size."""
  configs = _configs("dac", "dacq_vocos")
  quantizer = {"name": "fsq", "num_codebooks": 8, "levels": (8, 8, 4, 4)}
  configs["dacq_vocos"]["codec"]["quantizer"] = quantizer
  with pytest.raises(grid.StudyError, match="quantizer.dropout: 0.5 in dac; 0.0 in"):
    _check(configs)
  quantizer["dropout"] = 0.5
  _check(configs)
  quantizer["levels"] = (8, 8, 4, 3)
  with pytest.raises(grid.StudyError, match="tokens.kbps: 4.0 in dac; 3.83"):
    _check(configs)


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
    from jaxcodec.study import conditions, grid, runner
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


def _load(file, argument):
  return runpy.run_path(str(ROOT / file))["get_config"](argument)


@pytest.mark.parametrize(
  ("argument", "count"),
  [
    ("", 3 * 8 * (1 + 2)),
    ("runlocal", 4 * (1 + 2)),
    ("runlocal,design=frozen", 2 * (1 + 2 + 2 * (1 + 2))),
  ],
)
def test_the_committed_grid_is_matched(tmp_path, argument, count):
  chosen = json.loads(_load("configs/study.py", argument).to_json())
  cells = grid.plan(chosen, tmp_path, "launch/main.py")
  assert len(cells) == count
  cells = [cell for cell in cells if cell.seed == 0]
  configs = {}
  for cell in cells:
    config = _load(*cell.config.split(":"))
    values = dict(override.split("=") for override in cell.overrides)
    config.update_from_flattened_dict({k: literal(v) for k, v in values.items()})
    configs[cell.name] = json.loads(config.to_json())
  _check(configs)


def test_seeds_are_added():
  settings = {"seeds": [0], "arg": "runlocal"}
  assert grid.with_seeds(settings, ["2", "1"]) == settings | {"seeds": [0, 2, 1]}
  for added, message in ((["x"], "integers, got 'x'"), (["1", "0"], "0 is one of")):
    with pytest.raises(grid.StudyError, match=f"add_seeds: .*{message}"):
      grid.with_seeds(settings, added)


def test_a_language_model_has_values_of_its_own(tmp_path):
  both = ["data.path=a:b=c", "other:slm_train.max_seconds=9"]
  for cell in plan(tmp_path, overrides=both):
    assert "--config.data.path=a:b=c" in cell.command
    own = "--config.slm_train.max_seconds=9" in cell.command
    assert own == (cell.slm == "other")


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
