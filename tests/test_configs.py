"""Every config builds, and its `runlocal` variant runs end to end in a few steps."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import jaxcodec
from jaxcodec import build
from jaxcodec.pipeline import STAGES
from jaxcodec.pipeline.experiment import plain

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = sorted(set((ROOT / "configs").glob("*.py")) - {ROOT / "configs" / "study.py"})
TINY = {
  "mesh.data": 2,
  "data.options.max_utterances": 24,
  "data.valid": 0.2,
  "data.test": 0.2,
  "codec.encoder.width": 2,
  "codec.encoder.latent_dim": 8,
  "codec.encoder.strides": (16, 20),  # two blocks compile faster than four
  "codec.decoder.width": 16,
  "codec.decoder.strides": (20, 16),
  "codec.quantizer.num_codebooks": 2,
  "codec.quantizer.codebook_size": 16,
  "codec_train.steps": 4,
  "codec_train.adversarial_start": 2,
  "codec_train.crop_seconds": 0.1,
  "codec_train.mel_scales": ((64, 10), (256, 20)),
  "codec_train.discriminator.periods": (2,),
  "codec_train.discriminator.n_ffts": (128,),
  "semantic.num_clusters": 8,
  "slm.width": 16,
  "slm.depth": 1,
  "slm.heads": 2,
  "slm_train.steps": 4,
  "slm_train.crop_seconds": 1.0,
  "slm_train.optimizer.warmup_steps": 1,
  "generate.num_utterances": 2,
  "generate.sampler.steps": (2,),
  "evaluate.num_utterances": 2,
}


def load(path, arg=""):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(arg)


def tiny(path):
  config = load(path, "runlocal")
  config.update_from_flattened_dict(TINY)
  return config


def command(path, workdir, *more):
  """The README's command, with the tiny config's values."""
  values = [f"--config.{name}={value}" for name, value in TINY.items()]
  config = f"--config={path}:runlocal"
  return [
    *(sys.executable, "launch/main.py", config, f"--workdir={workdir}"),
    *(*values, *more),
  ]


def start(path, workdir, *more):
  """The command as a process, on one device, its output in one pipe."""
  return subprocess.Popen(
    command(path, workdir, *more),
    cwd=ROOT,
    env={**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
@pytest.mark.parametrize("arg", ["", "runlocal"])
def test_every_config_builds(path, arg):
  config = plain(load(path, arg))
  build.check(config)
  build.check_shapes(config)


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_runs_end_to_end(path, tmp_path):
  from jaxcodec import pipeline

  pytest.importorskip("piper")
  pipeline.run(tiny(path), tmp_path, command="pytest")
  results = json.loads((tmp_path / "results.json").read_text())
  for name in ("reconstruction", "generation", "ground_truth"):
    for metric in results[name].values():
      assert metric["n"] + metric["n_failed"] == 2
      assert {"mean", "ci95", "n", "n_failed"} <= metric.keys()
  assert results["utterances"] and results["versions"]["jax"]
  page = (tmp_path / "report.html").read_text()
  assert "<audio" in page and "http://" not in page.replace("http://www.w3.org", "")
  for stage in STAGES:
    assert (tmp_path / stage / "DONE.json").exists(), stage
  expected = build.make_codec(plain(tiny(path))).spec
  assert jaxcodec.load(weights=tmp_path).spec == expected


KINDS = {
  "encodec": dict(
    weights=dict(
      **dict(mel=2.0, waveform=0.1, adversarial=4.0, feature=4.0),
      **dict(codebook=1.0, commitment=1.0),
    ),
    **dict(mel_loss="encodec", adversarial_loss="hinge", feature_matching="encodec"),
    discriminator=dict(name="encodec", n_ffts=(128,), width=2),
    balancer=dict(total_norm=1.0, decay=0.999, per_item=True),
  ),
  "vocos": dict(
    **dict(
      mel_loss="vocos", adversarial_loss="clipped_hinge", feature_matching="vocos"
    ),
    discriminator=dict(
      **dict(name="vocos", periods=(2,), n_ffts=(128,), period_width=1, band_width=2),
      resolution_weight=0.1,
    ),
  ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_adversarial_training(kind):
  """A step of EnCodec's and of Vocos' kind, traced."""
  config = dict(plain(tiny(CONFIGS[0])))
  config["codec_train"] = config["codec_train"] | KINDS[kind]
  task = build.make_codec_task(config)
  batch = {"audio_BxN": jax.ShapeDtypeStruct((2, 1600), jnp.float32)}
  state = jax.eval_shape(task.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
  new, metrics = jax.eval_shape(task.train_step, state, batch)
  assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
  assert set(task.weights) < set(metrics)
