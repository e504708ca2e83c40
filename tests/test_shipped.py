"""Weights that come by name: what is there, how runs become such, and how they load."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
import speech_helpers

import jaxcodec
from jaxcodec import files, shipped, weights
from jaxcodec.cli import model_card
from jaxcodec.cli.main import main
from jaxcodec.presets import PRESETS

FIELDS = dict(
  data=dict(sample_rate=speech_helpers.RATE, source="folder", path="/somewhere"),
  codec_train=dict(steps=3, init_from=None),
  slm_train=dict(steps=2, init_from=None, max_seconds=2.0),
  seed=0,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = speech_helpers.write_run(tmp_path_factory.mktemp("run"), "valle", **FIELDS)
  files.write_json(folder / "codec" / "split.json", {"train": ["a", "b"]})
  return folder


def _rounded(path):
  return jax.tree.map(
    lambda x: np.float32(np.float16(x)) if x.dtype == np.float32 else x,
    weights.load_params(path / weights.FILE),
  )


def test_all_that_comes_along_has_a_card_and_a_name_of_its_own():
  names = shipped.codecs() + shipped.language_models()
  assert "speech_16khz" in names and not set(names) & set(PRESETS)
  for name in names:
    card = (shipped.ROOT / name / shipped.CARD).read_text()
    assert card.startswith(f"# {name}\n")
    for heading in ("Trained on", "Measures", "Not good for"):
      assert f"## {heading}" in card and "Say here" not in card
  for name in shipped.codecs():
    assert "config" in weights.load_metadata(shipped.ROOT / name / weights.FILE)


def test_unknown_names_are_errors_that_list_the_known_ones(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for load in (
    lambda: jaxcodec.load("speech_17khz"),
    lambda: jaxcodec.load(weights="speech_17khz"),
    lambda: jaxcodec.load_slm("speech_17khz"),
  ):
    with pytest.raises((ValueError, FileNotFoundError), match="17khz.*speech_16khz"):
      load()
  (tmp_path / "speech_16khz").mkdir()  # goes before the name
  assert shipped.find("speech_16khz").resolve() == tmp_path / "speech_16khz"


def test_an_exported_codec_comes_by_its_name(run, tmp_path, monkeypatch, capsys):
  out = tmp_path / "speech_8khz"
  assert not main(["export", str(run), "--out", str(out)])
  assert re.search(r"speech_8khz: 0\.\d MB$", capsys.readouterr().out, re.M)
  own, half = run / "codec" / weights.FILE, out / weights.FILE
  assert half.stat().st_size < 0.8 * own.stat().st_size  # the header is as long
  monkeypatch.setattr(shipped, "ROOT", tmp_path)
  model = jaxcodec.load("speech_8khz")
  assert model.fingerprint == weights.token_fingerprint(_rounded(run / "codec"))
  assert model.spec == jaxcodec.load(weights=run).spec
  card = (out / shipped.CARD).read_text()
  assert "2 utterances" in card and "3 steps of the codec" in card


def test_an_exported_language_model_has_its_codec_or_names_it(
  run, tmp_path, monkeypatch
):
  monkeypatch.setattr(shipped, "ROOT", tmp_path)
  alone, shared = tmp_path / "speech_a", tmp_path / "speech_b"
  export = lambda out, *more: main(["export", str(run), "--out", str(out), *more])  # noqa: E731
  assert not export(alone, "--part", "slm")
  assert not export(tmp_path / "codec_8khz") and not export(shared, "--part", "slm")
  assert shipped.codecs() == ["codec_8khz"]
  assert shipped.language_models() == ["speech_a", "speech_b"]
  assert (alone / "codec").exists() and not (shared / "codec").exists()
  assert "/somewhere" not in (shared / "config.json").read_text()
  expected = weights.token_fingerprint(_rounded(run / "codec"))
  for name in shipped.language_models():
    assert jaxcodec.load_slm(name).codec.fingerprint == expected
  jax.tree.map(
    np.testing.assert_array_equal,
    weights.load_params(shared / "slm" / weights.FILE),
    _rounded(run / "slm"),
  )
  # Another codec of that name is not the one that the model was trained on.
  shutil.copy(run / "codec" / weights.FILE, tmp_path / "codec_8khz")
  with pytest.raises(ValueError, match="other weights than those"):
    jaxcodec.load_slm("speech_b")


def test_a_language_model_in_8_bits_has_its_codec_in_16(run, tmp_path):
  half, small = tmp_path / "half", tmp_path / "small"
  for out, bits in ((half, "16"), (small, "8")):
    command = ["export", str(run), "--part", "slm", "--bits", bits, "--out", str(out)]
    assert not main(command)
  codec, slm = (f"{part}/{weights.FILE}" for part in ("codec", "slm"))
  assert (half / codec).read_bytes() == (small / codec).read_bytes()
  assert (small / slm).stat().st_size < 0.8 * (half / slm).stat().st_size
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=0.005 * np.abs(a).max()),
    weights.load_params(half / slm),
    weights.load_params(small / slm),
  )
  assert (
    jaxcodec.load_slm(small).codec.fingerprint
    == jaxcodec.load_slm(half).codec.fingerprint
  )


def test_a_run_is_not_exported_onto_a_run(run, tmp_path, capsys):
  other = tmp_path / "other"
  files.write_json(other / "codec" / "DONE.json", {})
  before = (run / "slm" / weights.FILE).read_bytes()
  for out in (run, other):
    assert main(["export", str(run), "--part", "slm", "--out", str(out)]) == 2
    assert "is an experiment's work directory" in capsys.readouterr().err
  assert (run / "slm" / weights.FILE).read_bytes() == before


def test_a_run_without_the_part_is_an_error(tmp_path, capsys):
  files.write_text(tmp_path / "config.json", json.dumps({"config": {}}))
  assert main(["export", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
  assert "expected a work directory with a trained codec" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


def test_the_language_model_that_comes_along_is_whole():
  """Its files fit each other and the codec, which comes along too."""
  tts = jaxcodec.load_slm("speech_tts")
  assert tts.codec.spec == jaxcodec.load("speech_16khz").spec
  assert tts.language == "en-us"


@pytest.mark.parametrize("content", [None, {"metrics": {}, "generation": {}}])
def test_a_card_of_a_run_that_was_not_measured_says_so(tmp_path, content):
  path = tmp_path / "results.json"
  if content is not None:
    path.write_text(json.dumps(content))
  assert model_card._measures(path, "generation") == "None yet."
