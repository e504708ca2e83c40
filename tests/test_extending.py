"""Parts from outside the package, as CONTRIBUTING says: registered, named, run."""

import importlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from test_configs import ROOT, TINY, TINY_SLM, load

import jaxcodec
from jaxcodec import weights
from jaxcodec.build.codec import DECODERS, QUANTIZERS
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.language_models import LANGUAGE_MODELS
from jaxcodec.build.resolve import resolve

OUTSIDE = ROOT / "tests" / "extensions"
CONFIG = OUTSIDE / "experiment.py"
# What the config of tests/extensions/experiment.py is given beside the tiny sizes.
VALUES = {
  "codec.quantizer.bits": 5,
  "data.source": "folder",
  "evaluate.opus": False,
  "evaluate.reconstruction": ("si_sdr", "codebook_usage"),
  "evaluate.generation": ("mel_distance",),
}


def _has(config, field):
  for name in field.split("."):
    if name not in config:
      return False
    config = config[name]
  return True


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
  """Ten recordings of noise whose loudness changes."""
  folder = tmp_path_factory.mktemp("corpus")
  rng = np.random.default_rng(0)
  for i in range(10):
    loudness_N = np.repeat(rng.uniform(0.01, 0.3, 20), 960)
    audio_N = loudness_N * rng.standard_normal(len(loudness_N))
    soundfile.write(folder / f"u{i}.wav", audio_N, 16_000)
  return folder


@pytest.fixture(scope="module")
def workdir(corpus, tmp_path_factory):
  """An experiment whose every part can be from outside, run by launch/main.py."""
  config, workdir = load(CONFIG, "runlocal"), tmp_path_factory.mktemp("outside")
  wanted = TINY | TINY_SLM["maskgit"] | VALUES | {"data.path": str(corpus)}
  values = {name: value for name, value in wanted.items() if _has(config, name)}
  del values["data.options.max_utterances"]
  flags = [f"--config.{name}={value}" for name, value in values.items()]
  done = subprocess.run(
    [
      sys.executable,
      "launch/main.py",
      f"--config={CONFIG}:runlocal",
      f"--workdir={workdir}",
      *flags,
    ],
    cwd=ROOT,
    env={
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "PYTHONPATH": os.pathsep.join([str(OUTSIDE), os.environ.get("PYTHONPATH", "")]),
      "XLA_FLAGS": "",
    },
    capture_output=True,
    text=True,
    timeout=240,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return workdir


@pytest.fixture
def results(workdir):
  return json.loads((workdir / "results.json").read_text())


def test_a_quantiser(workdir, results):
  params = weights.load_params(workdir / "codec" / weights.FILE)["params"]
  assert set(params["quantizer"]) == {"project_in", "project_out"}
  assert results["token_spec"]["codebook_size"] == 2**5
  assert 0 < results["reconstruction"]["codebook_usage"]["mean"] <= 1


def test_a_codec_part(workdir, results):
  params = weights.load_params(workdir / "codec" / weights.FILE)["params"]
  assert params["decoder"]["Dense_0"]["kernel"].shape == (8, 320)
  assert np.isfinite(results["reconstruction"]["si_sdr"]["mean"])


def test_a_language_model(workdir, results):
  params = weights.load_params(workdir / "slm" / weights.FILE)["params"]
  assert params["table"].shape == (8, 2, 2**5) and np.ptp(params["table"]) > 0
  assert len(results["slm"]["ce_per_codebook"]) == 2
  assert results["endings"] == {"ended": 2, "cut": 0, "empty": 0}
  assert results["generation"]["mel_distance"]["n"] == 2


def test_a_run_of_outside_parts_is_used_once_they_are_imported(workdir, monkeypatch):
  """A run's files name modules, but don't make anybody import them."""
  with pytest.raises(ValueError, match="import outside_quantizer, outside_d.* first"):
    jaxcodec.load_slm(workdir)
  monkeypatch.syspath_prepend(str(OUTSIDE))
  for name in load(CONFIG).imports:
    importlib.import_module(name)
  audio_N = np.random.default_rng(1).uniform(-0.1, 0.1, 8000).astype(np.float32)
  speech = jaxcodec.load_slm(workdir).speak_like(audio_N, content_rate=16_000)
  assert len(speech.audio_N) == 8000 and speech.tokens.codes_BxTxK.shape == (1, 25, 2)


def test_outside_modules_that_are_not_there():
  with pytest.raises(
    ConfigError, match=r"imports: 'no_such_module' cannot be imported"
  ):
    resolve({"imports": ("no_such_module",)})
  with pytest.raises(ConfigError, match="imports must be a tuple of modules' names"):
    resolve({"imports": "json"})
  assert resolve({"imports": ("json",)}) == {"imports": ("json",)}


@pytest.mark.parametrize("known", [QUANTIZERS, DECODERS, LANGUAGE_MODELS])
def test_the_packages_own_parts_stay(known):
  with pytest.raises(ValueError, match="jaxcodec has its own"):
    known.register(next(iter(known)), object())
  with pytest.raises(ConfigError, match=f"{known.field} must be one of"):
    known.lookup("mine")
