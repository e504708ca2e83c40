"""Training by the config: on synthetic data, and with each option of the loop."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec import pipeline, recipes, weights
from jaxcodec.build.codec import make_codec, make_codec_task
from jaxcodec.build.fields import ConfigError
from jaxcodec.pipeline.experiment import plain
from jaxcodec.train.metrics_file import read_metrics

SMALL = {
  "cpu_devices": 8,
  "mesh.data": 2,
  "stages": "codec,slm",
  "data.source": "synthetic",
  "codec_train.steps": 3,
  "codec_train.batch_size": 4,
  "codec_train.adversarial_start": 1,
  "codec_train.crop_seconds": 0.05,
  "codec_train.mel_scales": ((64, 10),),
  "codec_train.log_every": 1,
  "codec_train.accumulate": 2,
  "codec_train.dtype": "bfloat16",
  "semantic.num_clusters": 8,
  "slm.width": 8,
  "slm.depth": 1,
  "slm.heads": 2,
  "slm_train.steps": 2,
  "slm_train.accumulate": 2,
  "slm_train.crop_seconds": 0.5,
  "slm_train.log_every": 1,
  "slm_train.optimizer.warmup_steps": 1,
}


def _config(**changes):
  """Returns the config of a codec that compiles fast: one stride, one block."""
  config = recipes.experiment("runlocal", codec_name="dacq_vocos", slm="maskgit")
  codec, train = config.codec, config.codec_train
  codec.encoder.update(width=2, strides=(32,), latent_dim=4)
  codec.decoder.update(width=8, mlp_width=8, depth=1, n_fft=128, hop=32)
  codec.quantizer.update(num_codebooks=2, codebook_size=16, codebook_dim=2)
  train.discriminator.update(periods=(2,), n_ffts=(), period_width=1)
  config.update_from_flattened_dict(SMALL | changes)
  return config


def _run(workdir, **changes):
  pipeline.run(_config(**changes), workdir, command="pytest")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("synthetic")
  # A trace of step 2 would begin while the step of the next phase compiles, and wait.
  _run(workdir, **{"codec_train.profile_steps": (3, 3)})
  return workdir


def test_the_same_config_again_does_nothing(trained):
  before = {path: path.read_bytes() for path in trained.glob("*/DONE.json")}
  _run(trained, **{"codec_train.profile_steps": (3, 3)})
  after = {path: path.read_bytes() for path in trained.glob("*/DONE.json")}
  assert after == before and len(before) == 2
  assert not list(trained.glob("*.stale-*"))


def test_codec_and_slm_train_without_data(trained):
  for stage, steps in (("codec", 3), ("slm", 2)):
    records = read_metrics(trained / stage)
    assert records[-1]["step"] == steps and np.isfinite(records[-1]["loss"])
    assert records[-1]["flops_per_s_per_device"] > 0
    assert weights.load_params(trained / stage / weights.FILE)["params"]
  assert list((trained / "codec" / "profile").rglob("*.trace.json.gz"))


def test_other_stages_refuse(tmp_path):
  for name in ("tokens", "generate", "report"):
    with pytest.raises(
      ConfigError, match=f"{name}' needs recordings.*stages=codec,slm"
    ):
      _run(tmp_path, stages=name)


def test_weights_to_begin_with(trained, tmp_path):
  # The learning rate rises from zero, so that a first step changes nothing.
  path = {"codec_train.init_from": str(trained)}
  _run(tmp_path, **{"codec_train.steps": 1, "stages": "codec"}, **path)
  before = weights.load_params(trained / "codec" / weights.FILE)
  after = weights.load_params(tmp_path / "codec" / weights.FILE)
  same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6)  # noqa: E731
  jax.tree.map(same, after, before)
  record = json.loads((tmp_path / "codec" / "DONE.json").read_text())
  written = record["inputs"]["config"]["codec_train"]["init_from"]
  assert written == weights.fingerprint(before)


def test_weights_that_do_not_fit_are_listed(trained, tmp_path):
  path = str(trained)
  wrong = r"codec_train.init_from: .*misshapen: params/encoder/.* expected"
  with pytest.raises(ConfigError, match=f"(?s){wrong}"):
    _run(tmp_path, **{"codec_train.init_from": path, "codec.encoder.width": 4})
  wrong = r"slm_train.init_from: .*misshapen: params/semantic_embed"
  with pytest.raises(ConfigError, match=f"(?s){wrong}"):
    _run(tmp_path, **{"slm_train.init_from": path, "semantic.num_clusters": 9})
  with pytest.raises(ConfigError, match="codec_train.init_from: no weights at nowhere"):
    _run(tmp_path, **{"codec_train.init_from": "nowhere"})
  assert not (tmp_path / "codec").exists()


def test_folded_weight_norms_get_their_scales_back():
  kernel = np.random.default_rng(0).standard_normal((3, 2, 5)).astype(np.float32)
  like = {"params": {"a": {"kernel": kernel, "scale": np.ones((1, 1, 5))}}}
  folded = {"params": {"a": {"kernel": kernel}}, "buffers": {"window": kernel}}
  found = weights.restore_weight_norm("file", folded, like)["params"]["a"]
  np.testing.assert_allclose(
    found["scale"][0, 0], np.linalg.norm(kernel.reshape(6, 5), axis=0), rtol=1e-6
  )


@pytest.mark.parametrize(
  "change, message",
  [
    ({"codec_train.accumulate": 3}, r"batch_size \(4\) .* the 2 devices .* \(3\)"),
    ({"slm_train.accumulate": 0}, "slm_train.accumulate must be a positive"),
    ({"codec_train.keep": 0}, "codec_train.keep must be a positive"),
    ({"codec_train.skip_nonfinite": -1}, "skip_nonfinite must not be negative"),
    ({"codec_train.profile_steps": (3, 2)}, r"profile_steps must be \(first, last\)"),
    ({"slm_train.best": ("loss", "min")}, "slm_train.best must be one of evaluation"),
    ({"slm_train.best": ("eval/loss", "least")}, "must be .metric, 'min' or 'max'"),
    ({"slm_train.best": ("eval/loss", "min")}, "best: data.source=synthetic has noth"),
    ({"codec_train.dtype": "float16"}, "codec_train.dtype must be one of"),
    ({"codec.dtype": "half"}, "dtype must be one of"),
  ],
)
def test_options_that_cannot_be(tmp_path, change, message):
  with pytest.raises(ConfigError, match=message):
    _run(tmp_path, **change)
  assert not (tmp_path / "codec").exists()


@pytest.mark.parametrize("codec", ["dac", "encodecq_vocos", "magnitude_16khz"])
def test_codecs_train_in_a_type_and_code_in_their_own(codec):
  config = plain(recipes.experiment("", codec_name=codec, slm="maskgit"))
  if codec == "magnitude_16khz":
    config["codec_train"] = {**config["codec_train"], "dtype": "bfloat16"}
  halves = lambda codec: (codec.encoder.dtype, codec.decoder.dtype)  # noqa: E731
  task = make_codec_task(config)
  assert halves(task.codec) == (jnp.bfloat16, jnp.bfloat16)
  if codec != "magnitude_16khz":
    assert task.discriminator.dtype == jnp.bfloat16
  assert halves(make_codec(config)) == (jnp.float32, jnp.float32)
  # Tokens that are kept are those of the codec that they are of.
  kept = {"freeze": ("encoder", "quantizer"), "init_from": "a run"}
  config["codec_train"] = {**config["codec_train"], **kept}
  assert halves(make_codec_task(config).codec) == (jnp.float32, jnp.bfloat16)


@pytest.mark.parametrize("codec", ["dac", "encodec", "encodecq_vocos"])
def test_bfloat16_computes_the_layers_and_nothing_else(codec):
  """Convolutions compute in bfloat16; parameters and losses stay float32."""
  config = recipes.experiment("runlocal", codec_name=codec, slm="maskgit")
  config.codec_train.dtype = "bfloat16"
  task = make_codec_task(plain(config))
  batch = {"audio_BxN": jax.ShapeDtypeStruct((2, 3200), jnp.float32)}
  state = jax.eval_shape(task.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
  floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
  assert {x.dtype for x in floats} == {jnp.dtype("float32")}
  (y_BxNx1, quantized), maps = jax.eval_shape(
    lambda s, x: (
      task.codec.apply({"params": s.params, **s.collections}, x[..., None]),
      task._judge(s.disc_params, x),
    ),
    state,
    batch["audio_BxN"],
  )
  measured = [y_BxNx1, quantized.z_BxTxD, quantized.losses, maps]
  assert {x.dtype for x in jax.tree.leaves(measured)} == {jnp.dtype("float32")}
  step = jax.make_jaxpr(task.train_step)(state, batch)
  text = str(step)
  convs = text.count("conv_general_dilated[")
  wide = sum(
    "f32" in line.split("=")[0]
    for line in text.splitlines()
    if "conv_general_dilated[" in line
  )
  assert convs > 20 and wide == 0
