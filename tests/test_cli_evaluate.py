"""`jaxcodec evaluate`: files of any codec or TTS, and runs that are finished."""

import json
import shutil
import sys
import types

import numpy as np
import pytest
import soundfile
import test_evals_stage as stage_helpers
from evals_helpers import RATE, SPEC, TEXTS, voice

from jaxcodec import stages
from jaxcodec.cli import evaluate_files
from jaxcodec.cli.main import main
from jaxcodec.evals import opus
from jaxcodec.evals.evaluate import evaluate, ground_truth, load_metrics
from jaxcodec.evals.metric import EvalClip
from jaxcodec.evals.results import read_results
from jaxcodec.pipeline import evaluate as stage
from jaxcodec.pipeline import reference_codecs
from jaxcodec.pipeline.experiment import Experiment
from jaxcodec.types import TokenSpec

NAMES = ("ada/one", "ada/two", "bob/three")
METRICS = ("pesq_wb", "stoi", "si_sdr", "mel_distance", "voiced_share")
CODED_AS = TokenSpec(num_codebooks=32, codebook_size=1024, hop=320, sample_rate=RATE)
CHEAP = ["--metrics", "stoi,si_sdr"]


def _clips():
  return [
    EvalClip(
      id=name, speaker=name[:3], text=TEXTS[seed], sample_rate=RATE,
      audio=np.zeros(0), reference=voice(seed), prompt=voice(seed + 7, 1.5),
    )
    for seed, name in enumerate(NAMES)
  ]  # fmt: skip


def _write(folder, name, audio_N, rate=RATE):
  """Writes the very samples of float audio."""
  path = folder / f"{name}.wav"
  path.parent.mkdir(parents=True, exist_ok=True)
  soundfile.write(path, audio_N, rate, "FLOAT")


def _opus_sets():
  """Returns the clips of Opus, and its metrics, as an experiment measures them."""
  settings = {"opus": True, "reconstruction": METRICS, "asr": "", "speaker": "",
              "utmos": None, "threads": 1}  # fmt: skip
  experiment = types.SimpleNamespace(spec=CODED_AS, config={"evaluate": settings})
  code = reference_codecs.make_sets(experiment, _clips()).sets["opus"]
  metrics = stage.metrics_of_set(experiment.config, CODED_AS, "references")
  return code(), load_metrics(metrics).metrics


@pytest.fixture(scope="module")
def experiment():
  """The rows of Opus, and of the originals, inside an experiment."""
  clips, metrics = _opus_sets()
  return clips, evaluate(clips, metrics), evaluate(ground_truth(clips), metrics[-1:])


@pytest.fixture(scope="module")
def folders(tmp_path_factory, experiment):
  """The same as files: `reference`, `opus`, and 30 ms `late`; prompts and texts."""
  root = tmp_path_factory.mktemp("files")
  for clip in experiment[0]:
    _write(root / "reference", clip.id, clip.reference)
    _write(root / "opus", clip.id, clip.audio)
    _write(root / "late", clip.id, np.concatenate([np.zeros(480), clip.audio]))
    _write(root / "prompts", clip.id, clip.prompt)
    content, _ = opus._encode(clip.reference, RATE, int(CODED_AS.bitrate))
    path = root / "container" / f"{clip.id}.opus"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  lines = [f"{c.id.partition('/')[2]}|{c.text}\n" for c in experiment[0]]
  (root / "texts.csv").write_text("".join(lines))
  return root


def _command(folders, generated, *options):
  return ["evaluate", "--reference", str(folders / "reference"),
          "--generated", str(folders / generated), *options]  # fmt: skip


def _evaluate(folders, generated, out, *options):
  command = _command(folders, generated, "--out", str(out), *options)
  assert main(command) == 0
  return read_results(out / "results.json")


def _rows(results, name):
  """Returns a set's rows without what only the command says."""
  own = ("set", "wavs", "delay_ms")
  return [
    {key: value for key, value in row.items() if key not in own}
    for row in results["utterances"]
    if row["set"] == name
  ]


def test_rows_are_those_of_the_same_audio_in_an_experiment(
  folders, experiment, tmp_path
):
  options = ("--metrics", ",".join(METRICS))
  results = _evaluate(folders, "opus", tmp_path / "out", *options)
  _, coded, originals = experiment
  without = [{**row, "text": None} for row in coded.rows]
  assert _rows(results, "reconstruction") == without
  assert results["reconstruction"].pop("delay_ms")["mean"] == 0
  assert results["reconstruction"] == coded.summary
  assert results["ground_truth"] == originals.summary
  # What a decoder of Ogg's gives at 48 kHz, resampled as Opus in an experiment is.
  options = (*options, "--sample-rate", str(RATE))
  results = _evaluate(folders, "container", tmp_path / "container", *options)
  assert _rows(results, "reconstruction") == without


def test_a_codec_that_is_late_is_measured_in_place(folders, experiment, tmp_path):
  out = tmp_path / "out"
  results = _evaluate(folders, "late", out, "--metrics", ",".join(METRICS))
  rows = [row for row in results["utterances"] if row["set"] == "reconstruction"]
  assert [row["delay_ms"] for row in rows] == [30.0] * 3
  assert [row["seconds"] for row in rows] == [2.03] * 3
  for name in METRICS[:-1]:
    in_place = [row[name] for row in experiment[1].rows]
    assert [row[name] for row in rows] == in_place


def test_the_folder_has_what_an_experiment_has(folders, tmp_path, capsys):
  out = tmp_path / "out"
  _evaluate(folders, "opus", out, *CHEAP, "--texts", str(folders / "texts.csv"))
  said = capsys.readouterr().out
  assert "| delay_ms (ms)" in said and "3 files measured in time" in said
  page = (out / "report.html").read_text(encoding="utf-8")
  assert page.count("<audio") == 2 * len(NAMES) and TEXTS[0] in page
  assert "jaxcodec evaluate --reference" in page and "delay_ms" in page
  assert (out / "report.md").read_text().startswith("# out\n")
  record = json.loads((out / "config.json").read_text())["config"]
  assert (record["as"], record["sample_rate"]) == ("reconstruction", RATE)
  assert not (out / "skipped.json").exists()


def test_speech_with_timing_of_its_own(folders, tmp_path, capsys):
  for seed, name in enumerate(NAMES):
    _write(tmp_path / "tts", name, voice(seed, 2.5))
  command = _command(folders, tmp_path / "tts", "--out", str(tmp_path / "out"))
  command += ["--prompts", str(folders / "prompts")]
  assert main([*command, "--metrics", "f0_from_prompt_cents,voiced_share"]) == 0
  results = read_results(tmp_path / "out" / "results.json")
  assert set(results["generation"]) == {"f0_from_prompt_cents", "voiced_share"}
  assert set(results["ground_truth"]) == set(results["generation"])
  assert (
    not results["reconstruction"] and "timing of their own" in capsys.readouterr()[0]
  )
  page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
  assert page.count("<audio") == 2 * len(NAMES)
  assert main([*command, *CHEAP, "--overwrite"]) == 2
  assert "stoi, si_sdr: without audio in time" in capsys.readouterr().err


def test_files_of_other_rates_are_resampled_to_the_generated_ones(
  folders, tmp_path, capsys
):
  for seed, name in enumerate(NAMES):
    _write(tmp_path / "other", name, voice(seed, rate=22_050), 22_050)
  out = tmp_path / "out"
  _evaluate(folders, tmp_path / "other", out, *CHEAP)
  assert "at 22050 Hz; resampled to it from 16000 Hz" in capsys.readouterr().out
  assert soundfile.info(out / "audio" / "00.original.wav").samplerate == 22_050
  _write(tmp_path / "other", NAMES[0], voice(0))
  command = _command(folders, tmp_path / "other", "--out", str(tmp_path / "no"), *CHEAP)
  assert main(command) == 2
  assert (
    "files have 16000 Hz, 22050 Hz; say by --sample-rate" in capsys.readouterr().err
  )


@pytest.fixture
def unpaired(folders, tmp_path):
  """A copy that lacks a reference, a generated file, a prompt and a text."""
  root = shutil.copytree(folders, tmp_path / "copy")
  _write(root / "opus", "ada/four", voice(3))
  _write(root / "reference", "bob/five", voice(4))
  (root / "prompts" / "ada" / "two.wav").unlink()
  text = (root / "texts.csv").read_text().replace("three|", "elsewhere|")
  (root / "texts.csv").write_text(text)
  (root / "opus" / "notes.docx").touch()
  return root


def test_files_that_do_not_pair_are_named_in_one_error(unpaired, tmp_path, capsys):
  out = tmp_path / "out"
  options = ["--prompts", str(unpaired / "prompts"), "--out", str(out), *CHEAP]
  options += ["--texts", str(unpaired / "texts.csv")]
  command = _command(unpaired, "opus", *options)
  assert main(command) == 2
  said = capsys.readouterr().err
  for part in (
    "--reference lacks ada/four",
    "--generated lacks bob/five",
    "--prompts lacks ada/two",
    "--texts lacks bob/three",
  ):
    assert part in said
  assert not out.exists()
  assert main([*command, "--on-error", "skip"]) == 0
  said = capsys.readouterr()
  assert "left out 1 files" in said.out and said.err.count("skipped: ") == 4
  assert len(json.loads((out / "skipped.json").read_text())) == 4
  assert [row["id"] for row in read_results(out / "results.json")["utterances"]] == [
    "ada/one"
  ]


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (lambda root: (root / "opus/ada/one.flac").touch(), "have the same name"),
    (lambda root: (root / "opus/ada/one.wav").write_bytes(b"RIFF"), "one.wav: "),
    (lambda root: shutil.rmtree(root / "opus"), "is not a folder"),
    (lambda root: (root / "reference/metadata.csv").touch(), "metadata.csv: is empty"),
  ],
)
def test_bad_files_are_found_before_any_work(
  folders, tmp_path, spoil, message, capsys, monkeypatch
):
  root = shutil.copytree(folders, tmp_path / "copy")
  spoil(root)
  monkeypatch.setattr(evaluate_files, "evaluate_shown", None)
  assert main(_command(root, "opus", "--out", str(tmp_path / "out"), *CHEAP)) == 2
  assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_recogniser_must_know_the_language(folders, tmp_path, capsys):
  options = ["--texts", str(folders / "texts.csv"), "--metrics", "wer"]
  out = tmp_path / "out"
  command = _command(folders, "opus", *options, "--language", "de", "--out", str(out))
  assert main(command) == 2 and not out.exists()
  assert "'whisper-tiny.en' knows English alone" in capsys.readouterr().err


def test_an_input_is_not_replaced(folders, tmp_path, capsys):
  (tmp_path / "audio").symlink_to(folders / "opus")
  command = ["evaluate", "--reference", str(folders / "reference"), *CHEAP]
  for generated in (tmp_path / "audio", folders / "opus"):
    named = [*command, "--generated", str(generated), "--out", str(tmp_path)]
    assert main([*named, "--overwrite"]) == 2
    assert f"in the place of --generated {generated}" in capsys.readouterr().err
  assert len(list((folders / "opus").rglob("*.wav"))) > 1


def test_outputs_appear_together_and_are_kept(folders, tmp_path, capsys, monkeypatch):
  out = tmp_path / "out"
  command = _command(folders, "opus", "--out", str(out), *CHEAP)

  def fail(folder):
    raise OSError(28, "No space left on device", str(folder))

  with monkeypatch.context() as patch:
    patch.setattr(evaluate_files, "write_report", fail)
    assert main(command) == 2
  assert not list(tmp_path.iterdir())
  assert main(command) == 0
  before = (out / "results.json").read_bytes()
  assert main(command) == 2 and "--overwrite" in capsys.readouterr().err
  with monkeypatch.context() as patch:
    patch.setattr(evaluate_files, "write_report", fail)
    assert main([*command, "--overwrite", "--sample-rate", "8000"]) == 2
  assert (out / "results.json").read_bytes() == before
  assert main([*command, "--overwrite", "--sample-rate", "8000"]) == 0
  assert (out / "results.json").read_bytes() != before
  (tmp_path / "file").touch()
  assert main(_command(folders, "opus", "--out", str(tmp_path / "file"), *CHEAP)) == 2
  assert "is a file; expected a folder" in capsys.readouterr().err
  (out / "evaluate").mkdir()
  assert main([*command, "--overwrite"]) == 2
  assert "an experiment's work directory" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ([], "expected a RUN, or both --reference and --generated"),
    (["RUN", "--sample-rate", "8000", "--as", "generation"], "--as, --sample-rate"),
    (["RUN"], "RUN: expected a work directory"),
  ],
)
def test_what_is_asked_for_must_make_sense(options, message, capsys):
  assert main(["evaluate", *options]) == 2
  assert message in capsys.readouterr().err


def test_a_finished_run_is_measured_again(tmp_path, monkeypatch, capsys):
  stage_helpers.write_codec(tmp_path)
  stage_helpers.write_generated(tmp_path, seed=0)
  before = stage_helpers.run_stage(tmp_path, opus=False)
  config = {**stage_helpers.CONFIG, "imports": []}
  config["evaluate"] = {**config["evaluate"], "opus": False}
  record = {"config": config, "command": "python launch/main.py"}
  record["versions"] = {"jax": "of then"}
  (tmp_path / "config.json").write_text(json.dumps(record))
  (tmp_path / "results.json").write_text("{}")
  done = ("codec", "tokens", "slm", "generate")

  def opened(config, workdir):
    models = types.SimpleNamespace(spec=SPEC)
    parts = stage_helpers.SPLIT
    found = Experiment(config, workdir, stage_helpers.SOURCE, parts, [], models)
    vars(found).update(codec=stage_helpers.Codec())
    found.done.update({name: stages.load_stage(workdir, name) for name in done})
    return found

  run = sys.modules["jaxcodec.pipeline.run"]  # the package's `run` is its function
  monkeypatch.setattr(run, "open_experiment", opened)
  for name in ("check", "check_packages", "_announce"):
    monkeypatch.setattr(run, name, lambda *arguments: None)
  for threads in (1, 2, 2):
    assert main(["evaluate", str(tmp_path), "--threads", str(threads)]) == 0
    results = read_results(tmp_path / "results.json")
    assert results.pop("config")["evaluate"]["threads"] == threads
    assert results == {k: v for k, v in before.items() if k != "config"}
    (tmp_path / "results.json").unlink()
  record = json.loads((tmp_path / "config.json").read_text())
  assert record["command"] == "python launch/main.py"
  assert record["config"]["evaluate"]["threads"] == 2
  assert record["versions"] == {"jax": "of then"}
  assert "<audio" in (tmp_path / "report.html").read_text(encoding="utf-8")
  # One that fails leaves config and results as they are.
  assert main(["evaluate", str(tmp_path), "--utmos", "nowhere.pt"]) == 2
  assert "nowhere.pt" in capsys.readouterr().err
  assert json.loads((tmp_path / "config.json").read_text()) == record
