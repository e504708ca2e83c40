"""Rematerialised blocks give the same gradients with less memory."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_configs import DAC_MASKGIT, tiny

from jaxcodec.build.codec import make_codec_task
from jaxcodec.build.fields import ConfigError
from jaxcodec.codecs.dac import DacDecoder, DacEncoder
from jaxcodec.codecs.discriminators import (
  DacDiscriminator,
  EncodecDiscriminator,
  VocosDiscriminator,
)
from jaxcodec.codecs.seanet import SeanetDecoder, SeanetEncoder
from jaxcodec.codecs.vocos import VocosDecoder
from jaxcodec.nn.remat import MODES, mode
from jaxcodec.parallel import sharding
from jaxcodec.pipeline import records, train_options
from jaxcodec.pipeline.experiment import plain
from jaxcodec.train import flops
from jaxcodec.train.step import COMPILE_FAST

# As GPUs' and TPUs' compilers do, and CPU's would not by itself.
LEAST_MEMORY = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
AUDIO, MONO, LATENT = (2, 80, 1), (2, 80), (2, 40, 4)
_SEANET = dict(strides=(2,), lstm_layers=0)
_SMALL = dict(periods=(2,), n_ffts=(32,), period_width=1, band_width=2)
PARTS = {
  "dac_encoder": (DacEncoder(2, (2,)), AUDIO),
  "dac_decoder": (DacDecoder(4, (2,)), LATENT),
  "seanet_encoder": (SeanetEncoder(2, **_SEANET), AUDIO),
  "seanet_decoder": (SeanetDecoder(4, **_SEANET), LATENT),
  "vocos": (VocosDecoder(8, 16, 1, 16, 4), LATENT),
  "conditioned": (VocosDecoder(8, 16, 1, 16, 4, bandwidth_codebooks=(1, 2)), LATENT),
  "dac_discriminator": (DacDiscriminator(**_SMALL), MONO),
  "encodec_discriminator": (EncodecDiscriminator((32,), 2), MONO),
  "vocos_discriminator": (VocosDiscriminator(**_SMALL), MONO),
}


def gradient(module: nn.Module, shape):
  """Lowers the gradient with respect to parameters and input."""

  def loss(params, x):
    outputs = jax.tree.leaves(module.apply({"params": params}, x))
    return sum(jnp.sum(jnp.sin(y)) for y in outputs)

  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  params = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
  return jax.jit(jax.grad(loss, (0, 1))).trace(params, x)


def is_computed_again(traced) -> bool:
  return "prevent_cse" in str(traced.jaxpr)


@pytest.mark.parametrize("name", PARTS)
def test_each_part_computes_again_if_told(name):
  module, shape = PARTS[name]
  traced = (gradient(module.clone(remat=on), shape) for on in (False, True))
  assert [is_computed_again(t) for t in traced] == [False, True]


@pytest.mark.parametrize("name", ["dac_decoder", "encodec_discriminator"])
def test_gradients_are_the_same(name):
  module, shape = PARTS[name]
  x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
  init = jax.jit(module.init, compiler_options=COMPILE_FAST)
  params = init(jax.random.key(0), x)["params"]
  expected, found = (
    gradient(module.clone(remat=on), shape).lower().compile(COMPILE_FAST)(params, x)
    for on in (False, True)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), found, expected
  )


def test_memory_is_less():
  module = DacEncoder(16, (2, 4))
  kept, computed = (
    gradient(module.clone(remat=on), (4, 8000, 1))
    .lower()
    .compile(COMPILE_FAST | LEAST_MEMORY)
    .memory_analysis()
    for on in (False, True)
  )
  assert computed.temp_size_in_bytes < 0.8 * kept.temp_size_in_bytes


def test_transforms_that_devices_share_are_computed_again():
  module, shape = PARTS["encodec_discriminator"]
  mesh = sharding.make_mesh({"data": 2})
  with sharding.use_mesh(mesh):
    assert is_computed_again(gradient(module.clone(remat=True), shape))


def test_one_field_is_for_codec_and_discriminators():
  """Checks that one field sets all parts, and that changing it redoes no stage."""
  config, recorded = plain(tiny(DAC_MASKGIT)), []
  for on in ("none", "products", "full", True):
    asked = {**config, "codec_train": {**config["codec_train"], "remat": on}}
    task = make_codec_task(asked)
    parts = task.codec.encoder, task.codec.decoder, task.discriminator
    assert [part.remat for part in parts] == [mode(on)] * 3
    experiment = types.SimpleNamespace(config=asked)
    recorded.append(train_options.recorded_config(experiment, "codec_train"))
  assert recorded == recorded[:1] * 4
  wrong = {**config, "codec_train": {**config["codec_train"], "remat": "some"}}
  with pytest.raises(ConfigError, match=r"codec_train.remat must be one of .*'some'"):
    make_codec_task(wrong)


@pytest.mark.parametrize(
  ("asked", "recorded"), [("none", False), ("products", True), (False, False)]
)
def test_runs_of_earlier_configs_are_not_done_again(asked, recorded):
  experiment = types.SimpleNamespace(config={"slm": {"depth": 1, "remat": asked}})
  found = records.recorded_config(experiment, "slm")
  assert found == {"depth": 1, "remat": recorded}


def test_fields_that_came_later_say_nothing_of_what_was_done_before():
  slm = {"name": "delay", "depth": 1}
  later = {"text_dropout": 0.0, "level_weights": "uniform", "nar_draws": 1}
  sampler, guided = {"top_k": 3}, {"top_k": 3, "guidance": 1.0}
  for config, expected in (
    ({"slm": slm | later}, slm),
    ({"slm": slm | later | {"text_dropout": 0.1}}, slm | {"text_dropout": 0.1}),
    ({"slm": slm | {"name": "valle", "level_weights": "uniform"}}, None),
    ({"generate": {"sampler": guided}}, {"sampler": sampler}),
    ({"generate": {"sampler": guided | {"guidance": 2.0}}}, None),
    (
      {"generate": {"sampler": sampler | {"guidance_prompt": 0.0}}},
      {"sampler": sampler},
    ),
    ({"generate": {"sampler": sampler | {"guidance_prompt": 2.0}}}, None),
  ):
    (section,) = config
    found = records.recorded_config(types.SimpleNamespace(config=config), section)
    assert found == (config[section] if expected is None else expected)


def test_products_are_not_computed_again():
  """Counts convolutions in gradients of a part that is computed again in two ways."""
  module, shape = PARTS["dac_decoder"]
  work = [flops.count(gradient(module.clone(remat=how), shape).jaxpr) for how in MODES]
  assert work[0].recomputed == work[1].recomputed == 0 < work[2].recomputed
  assert len({w.model for w in work}) == 1
