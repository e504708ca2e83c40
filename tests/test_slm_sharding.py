"""Both language models on a mesh give one device's numbers; also in bfloat16."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.parallel import sharding
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.valle import Valle
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=3, codebook_size=16, hop=320, sample_rate=16_000)
SIZES = dict(width=32, depth=1, heads=2, mlp_width=64, dropout=0.1)
MODELS = {"maskgit": (MaskGit, SPEC, 8), "valle": (Valle, SPEC, 8)}
STEPS = 20


def _task(name, **options):
  kind, *inputs = MODELS[name]
  return SlmTask(kind(*inputs, **SIZES, **options), steps=100, warmup_steps=5)


def _batch():
  rng = np.random.default_rng(0)
  ragged = lambda most: np.arange(most)[None] < rng.integers(2, most + 1, (8, 1))  # noqa: E731
  return {
    "codes_BxTxK": rng.integers(0, 16, (8, 12, 3), np.int32),
    "semantic_BxT": rng.integers(0, 8, (8, 12), np.int32),
    "mask_BxT": ragged(12),
    "text_BxS": rng.integers(0, 8, (8, 5), np.int32),
    "text_mask_BxS": ragged(5),
  }


def _train(task, shape):
  """Trains; returns the losses, the last state and the compiled program's text."""
  mesh = sharding.make_mesh(shape)
  batch, rng = sharding.put_batch(mesh, _batch()), jax.random.key(0)
  state = jax.jit(task.init)(rng, _batch())  # without a mesh: the same numbers
  places = sharding.state_shardings(mesh, state, sharding.DEFAULT_RULES)
  state, out = jax.device_put(state, places), (places, sharding.replicated(mesh))
  step = jax.jit(task.train_step, out_shardings=out).lower(state, batch).compile()
  losses = []
  for _ in range(STEPS):
    state, metrics = step(state, batch)
    losses.append(float(metrics["loss"]))
  return np.array(losses), state, step.as_text()


def _collectives(text):
  """Returns the names of the program's collectives, and their groups of devices."""
  pattern = r" (all-reduce|all-gather|reduce-scatter)\(.*?replica_groups=(\S+), "
  return tuple(map(set, zip(*re.findall(pattern, text), strict=True))) or (set(), set())


@pytest.mark.parametrize("name", MODELS)
def test_a_mesh_trains_as_one_device_does(name):
  want, _, text = _train(_task(name), {"data": 1})
  assert _collectives(text) == (set(), set())
  losses, state, text = _train(_task(name), {"data": 2, "fsdp": 2, "tensor": 2})
  np.testing.assert_allclose(losses, want, rtol=1e-5)
  names, groups = _collectives(text)
  assert {"all-reduce", "all-gather"} <= names
  # The pairs of devices along `tensor`, in either way of writing them.
  assert groups & {"{{0,1},{2,3},{4,5},{6,7}}", "[4,2]<=[8]"}
  kernels = [x for x in jax.tree.leaves(state.params) if x.ndim > 3]
  parts = [x.size // x.addressable_data(0).size for x in kernels]
  assert set(parts) == {4}  # over `fsdp` and over `tensor`


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_trains_float32_parameters(name):
  losses, state, _ = _train(_task(name, dtype=jnp.bfloat16), {"data": 1})
  assert np.isfinite(losses).all() and losses[-5:].mean() < losses[:5].mean() - 0.1
  for leaf in jax.tree.leaves((state.params, state.ema)):
    assert leaf.dtype == jnp.float32
