"""Parts from outside the package, as CONTRIBUTING says: registered, named, run."""

import importlib
import json
import os
import subprocess
import sys

import compile_flags
import numpy as np
import pytest
from test_configs import ROOT, TINY, TINY_SLM, load

import jaxcodec
from jaxcodec import weights
from jaxcodec.build.codec import DECODERS, DISCRIMINATORS, ENCODERS, QUANTIZERS
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.language_models import LANGUAGE_MODELS
from jaxcodec.build.resolve import resolve
from jaxcodec.data.source import SOURCES
from jaxcodec.data.text.front_ends import FRONT_ENDS
from jaxcodec.data.token_store import TokenSource
from jaxcodec.evals.registry import METRICS

OUTSIDE = ROOT / "tests" / "extensions"
CONFIG = OUTSIDE / "experiment.py"
# What the config of tests/extensions/experiment.py is given beside the tiny sizes.
VALUES = {
  "codec.quantizer.bits": 5,
  "evaluate.opus": False,
}


def _has(config, field):
  for name in field.split("."):
    if name not in config:
      return False
    config = config[name]
  return True


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  """An experiment whose every part can be from outside, run by launch/main.py."""
  config, workdir = load(CONFIG, "runlocal"), tmp_path_factory.mktemp("outside")
  wanted = TINY | TINY_SLM["maskgit"] | VALUES
  values = {name: value for name, value in wanted.items() if _has(config, name)}
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
      "XLA_FLAGS": compile_flags.FAST,
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


def test_a_metric(results):
  assert 0 < results["reconstruction"]["peak"]["mean"]
  assert results["metrics"]["peak"]["measures"] == "the largest absolute sample"


def test_a_data_source(workdir):
  split = json.loads((workdir / "codec" / "split.json").read_text())
  assert sum(map(len, split.values())) == 12


def test_a_text_front_end(workdir):
  vocabulary = json.loads((workdir / "tokens" / "vocabulary.json").read_text())
  assert vocabulary["front_end"] == "initials"
  record = TokenSource(workdir / "tokens" / "test.array_record")[0]
  assert len(record["text_S"]) == len("o t")


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


REGISTRIES = (
  QUANTIZERS,
  ENCODERS,
  DECODERS,
  DISCRIMINATORS,
  LANGUAGE_MODELS,
  METRICS,
  SOURCES,
  FRONT_ENDS,
)


@pytest.mark.parametrize("known", REGISTRIES, ids=lambda known: known.field)
def test_the_packages_own_parts_stay(known):
  with pytest.raises(ValueError, match="jaxcodec has its own"):
    known.register(next(iter(known)), object())
  with pytest.raises(ValueError, match=f"{known.field} must be one of"):
    known.lookup("mine")
