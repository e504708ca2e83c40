"""Every config builds, its `runlocal` form trains, and each SLM runs end to end."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import compile_flags
import jax
import jax.numpy as jnp
import pytest

import jaxcodec
from jaxcodec import pipeline, shipped
from jaxcodec.build.check import check, check_shapes
from jaxcodec.build.codec import make_codec, make_codec_task
from jaxcodec.build.slm import make_slm_task
from jaxcodec.build.text import make_vocabulary
from jaxcodec.pipeline import STAGES, shared_codec
from jaxcodec.pipeline.experiment import plain

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = sorted(set((ROOT / "configs").glob("*.py")) - {ROOT / "configs" / "study.py"})
DAC_MASKGIT = ROOT / "configs" / "dac_maskgit.py"
# A codec with each language model runs end to end, DAC with the masked one in
# test_interruption.py; of the other codecs a step is traced.
VALLE, DELAY = (
  ROOT / "configs" / f"magnitude_{name}.py" for name in ("valle", "delay")
)
OF_EACH_CODEC = [path for path in CONFIGS if path.stem.endswith("_valle")]
TINY = {
  "mesh.data": 2,
  "data.options.max_utterances": 24,
  "data.valid": 0.2,
  "data.test": 0.2,
  "codec.encoder.width": 2,
  "codec.encoder.latent_dim": 8,
  "codec.encoder.strides": (16, 20),  # two blocks compile faster than four
  "codec.decoder.width": 16,
  "codec.quantizer.num_codebooks": 2,
  "codec.quantizer.codebook_size": 32,
  "codec_train.steps": 4,
  "codec_train.adversarial_start": 2,
  "codec_train.crop_seconds": 0.1,
  "codec_train.mel_scales": ((64, 10), (256, 20)),
  "codec_train.discriminator.periods": (2,),
  "codec_train.discriminator.n_ffts": (),  # five stacks of layers for each
  "semantic.num_clusters": 8,
  "slm.width": 16,
  "slm.depth": 1,
  "slm.heads": 2,
  "slm_train.steps": 4,
  "slm_train.optimizer.warmup_steps": 1,
  "generate.num_utterances": 2,
  "evaluate.num_utterances": 2,
  "evaluate.opus": True,
}
TINY_CODEC = {
  "dac": {"codec.decoder.strides": (20, 16)},
  "seanet": {"codec.decoder.strides": (20, 16)},
  "vocos": {"codec.decoder.mlp_width": 16, "codec.decoder.depth": 1},
}
TINY_MAGNITUDE = {
  "codec.encoder.mlp_width": 4,
  "codec.encoder.depth": 1,
  "codec.decoder.mlp_width": 16,
  "codec.decoder.depth": 1,
  "codec.decoder.iterations": 1,
  "codec_train.start.frames": 64,
  "codec_train.start.iterations": 1,
}
NOT_OF_MAGNITUDE = (
  "codec.encoder.latent_dim",
  "codec.encoder.strides",
  "codec_train.adversarial_start",
  "codec_train.discriminator.periods",
  "codec_train.discriminator.n_ffts",
)
TINY_OF_TEXT = {
  "slm_train.num_buckets": 1,
  "slm_train.continuations": 1,
  "generate.sampler.max_frames": 64,
  "generate.sampler.min_frames": 8,
}
TINY_SLM = {
  "delay": TINY_OF_TEXT,
  "maskgit": {"slm_train.crop_seconds": 1.0, "generate.sampler.steps": (2,)},
  "valle": TINY_OF_TEXT,
}


def load(path, arg=""):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(arg)


def tiny_values(config):
  name = config.codec.decoder.name
  if name == "magnitude":
    values = {n: v for n, v in TINY.items() if n not in NOT_OF_MAGNITUDE}
    return values | TINY_MAGNITUDE | TINY_SLM[config.slm.name]
  return TINY | TINY_CODEC[name] | TINY_SLM[config.slm.name]


def tiny(path):
  config = load(path, "runlocal,scratch")
  config.update_from_flattened_dict(tiny_values(config))
  return config


def command(path, workdir, *more):
  """Returns the README's command with the tiny config's values."""
  wanted = tiny_values(load(path, "runlocal")).items()
  values = [f"--config.{name}={value}" for name, value in wanted]
  config = f"--config={path}:runlocal"
  start = [sys.executable, "launch/main.py", config, f"--workdir={workdir}"]
  return [*start, *values, *more]


def start(path, workdir, *more):
  """Starts the command as a process on one device, with all output in one pipe."""
  return subprocess.Popen(
    command(path, workdir, *more),
    cwd=ROOT,
    env={**os.environ, "XLA_FLAGS": compile_flags.FAST, "JAX_PLATFORMS": "cpu"},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
@pytest.mark.parametrize("arg", ["", "runlocal", "laptop", "gpu"])
def test_every_config_builds(path, arg):
  config = plain(load(path, arg))
  models = check(config)
  if path in OF_EACH_CODEC:  # which is all that it depends on
    check_shapes(config, models.codec_task)


def test_one_size_at_most():
  with pytest.raises(ValueError, match="one size at most, got .*runlocal.*gpu"):
    load(DAC_MASKGIT, "gpu,runlocal")


def test_minutes_begin_with_the_codec_that_comes_along(monkeypatch):
  path = ROOT / "configs" / "magnitude_valle.py"
  steps = load(path, "runlocal,scratch").codec_train.steps
  monkeypatch.setattr(shipped, "codecs", lambda: ["speech_16khz"])
  for arg, expected in (
    ("runlocal", ("speech_16khz", 0)),
    ("runlocal,scratch", (None, steps)),
    ("laptop", ("speech_16khz", 0)),
    ("laptop,scratch", (None, 8000)),
    ("gpu", (None, load(path, "gpu").codec_train.steps)),
    ("runlocal,codec=dac", (None, load(path, "runlocal,codec=dac").codec_train.steps)),
  ):
    train = load(path, arg).codec_train
    assert (train.init_from, train.steps) == expected


def check_experiment(workdir, config):
  """Checks what a tiny experiment leaves."""
  results = json.loads((workdir / "results.json").read_text())
  assert not results["absent"]
  for name in ("reconstruction", "generation", "ground_truth"):
    for metric in results[name].values():
      assert metric["n"] + metric["n_failed"] == 2
      assert {"mean", "ci95", "n", "n_failed"} <= metric.keys()
  assert set(results["ground_truth"]) == set(config.evaluate.generation)
  assert all(metric["n"] == 2 for metric in results["ground_truth"].values())
  for name in ("mel_distance", "si_sdr"):
    assert results["reconstruction"][name]["n"] == 2
  assert results["utterances"] and results["versions"]["jax"]
  page = (workdir / "report.html").read_text()
  assert "<audio" in page and "http://" not in page.replace("http://www.w3.org", "")
  for stage in STAGES:
    assert (workdir / stage / "DONE.json").exists(), stage
  assert len(results["slm"]["ce_per_codebook"]) == 2
  assert jaxcodec.load(weights=workdir).spec == make_codec(plain(config)).spec


@pytest.mark.slow
def test_language_models_of_texts_run_end_to_end(tmp_path):
  pytest.importorskip("hibari")
  first, second = tmp_path / "valle", tmp_path / "delay"
  pipeline.run(tiny(VALLE), first, command="pytest")
  check_experiment(first, tiny(VALLE))
  shared_codec.use_codec_of(first, second)
  config = tiny(DELAY)
  config.stages = "slm,generate,evaluate,report"
  pipeline.run(config, second, command="pytest")
  check_experiment(second, config)


@pytest.mark.parametrize(
  "path", sorted({*OF_EACH_CODEC} - {VALLE}), ids=lambda p: p.stem
)
def test_the_other_codecs_train(path):
  """Traces a step of the codec and one of the language model."""
  config = plain(tiny(path))
  task = make_codec_task(config)
  _trace_step(task, {"audio_BxN": jax.ShapeDtypeStruct((2, 1600), jnp.float32)})
  spec, vocabulary = task.codec.spec, make_vocabulary(config)
  books, shape = spec.num_codebooks, (2, 9)
  fields = {
    "codes_BxTxK": ((*shape, books), jnp.int32),
    **{name: (shape, jnp.int32) for name in ("semantic_BxT", "text_BxS")},
    **{name: (shape, jnp.bool_) for name in ("mask_BxT", "text_mask_BxS")},
  }
  batch = {name: jax.ShapeDtypeStruct(*field) for name, field in fields.items()}
  _trace_step(make_slm_task(config, spec, vocabulary), batch)


def _trace_step(task, batch):
  state = jax.eval_shape(task.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
  new, metrics = jax.eval_shape(task.train_step, state, batch)
  assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
  return metrics


KINDS = {
  "encodec": dict(
    weights=dict(
      mel=2.0,
      waveform=0.1,
      adversarial=4.0,
      feature=4.0,
      codebook=1.0,
      commitment=1.0,
    ),
    mel_loss="encodec",
    adversarial_loss="hinge",
    feature_matching="encodec",
    discriminator=dict(name="encodec", n_ffts=(128,), width=2),
    balancer=dict(total_norm=1.0, decay=0.999, per_item=True),
  ),
  "vocos": dict(
    mel_loss="vocos",
    adversarial_loss="clipped_hinge",
    feature_matching="vocos",
    discriminator=dict(
      name="vocos",
      periods=(2,),
      n_ffts=(128,),
      period_width=1,
      band_width=2,
      resolution_weight=0.1,
    ),
  ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_adversarial_training(kind):
  """Traces a step with EnCodec's and with Vocos' losses."""
  config = dict(plain(tiny(DAC_MASKGIT)))
  config["codec_train"] = config["codec_train"] | KINDS[kind]
  task = make_codec_task(config)
  batch = {"audio_BxN": jax.ShapeDtypeStruct((2, 1600), jnp.float32)}
  metrics = _trace_step(task, batch)
  assert set(task.weights) < set(metrics)
