"""Rows of a batch stay on their devices, however the weights are sharded."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcodec.dry_run import collectives, step_cost
from jaxcodec.nn import dsp, istft, partition
from jaxcodec.parallel import sharding
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.train.step import COMPILE_FAST
from jaxcodec.types import TokenSpec

ROWS, FRAMES, WIDTH = 8, 24, 32


@pytest.fixture(scope="module")
def mesh():
  return sharding.make_mesh({"data": 4, "fsdp": 2})


def there_and_back(x_BxN):
  real, imag = dsp.stft(x_BxN, n_fft=512, hop=128)
  return istft.istft(real, imag, n_fft=512, hop=128, padding="center")


def test_transforms_of_a_shared_batch_say_nothing(mesh):
  audio_BxN = np.random.default_rng(0).standard_normal((8, 2048)).astype(np.float32)
  loss = jax.grad(lambda x_BxN: (there_and_back(x_BxN) ** 3).sum())
  put = sharding.put_batch(mesh, {"audio": audio_BxN})["audio"]
  with sharding.use_mesh(mesh):
    program = jax.jit(loss, out_shardings=put.sharding).lower(put).compile()
  assert collectives.collectives(program.as_text()) == []
  np.testing.assert_allclose(program(put), jax.jit(loss)(audio_BxN), 1e-5, 1e-5)


def test_rows_that_cannot_be_shared_are_left_as_they_are(mesh):
  def function(x):
    return partition.rows(partition.by_rows(jnp.sin, x))

  with sharding.use_mesh(mesh):
    x = jnp.arange(6.0)
    np.testing.assert_array_equal(jax.jit(function)(x), jnp.sin(x))


def test_a_language_model_under_fsdp_exchanges_weights_not_activations(mesh):
  """Checks that every array gathered or summed has the size of a weight or a metric."""
  spec = TokenSpec(num_codebooks=2, codebook_size=16, hop=320, sample_rate=16_000)
  model = MaskGit(spec, num_semantic=8, width=WIDTH, depth=2, heads=2, dropout=0.0)

  class Task:
    def init(self, rng, batch):
      return model.init_params(rng, batch)

    def train_step(self, params, batch):
      rng = jax.random.key(0)
      grads, metrics = jax.grad(model.loss, has_aux=True)(params, rng, batch)
      return optax.apply_updates(params, grads), metrics

  integers = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32)  # noqa: E731
  batch = {
    "codes_BxTxK": integers(ROWS, FRAMES, 2),
    "semantic_BxT": integers(ROWS, FRAMES),
    "mask_BxT": jax.ShapeDtypeStruct((ROWS, FRAMES), jnp.bool_),
  }
  rules = sharding.Rules(sharding.DEFAULT_RULES.paths, sharding.DEFAULT_RULES.axes, 1)
  step = step_cost.trace(Task(), batch, mesh, rules)
  text = step.lowered.compile(COMPILE_FAST).as_text()
  assert any(c.kind == "all-gather" for c in collectives.collectives(text))
  for line in text.splitlines():
    if any(f" {kind}(" in line for kind in collectives.KINDS):
      for dims in re.findall(r"\[([\d,]+)\]\{", line.split("metadata=")[0]):
        shape = [int(size) for size in dims.split(",")]
        assert FRAMES not in shape or np.prod(shape) < FRAMES * WIDTH // 2, line
