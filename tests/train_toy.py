"""A toy task with data for tests of the loop; as a program, it is killed by them."""

import dataclasses
import hashlib
import sys
import time
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcodec.parallel import sharding
from jaxcodec.train import loop

RULES = sharding.Rules(paths=((r"/(kernel|hidden)$", sharding.LARGEST),), min_size=1)
TX = optax.adamw(1e-2)


@flax.struct.dataclass
class State:
  step: jax.Array
  rng: jax.Array
  params: Any
  ema: Any
  opt: Any


@dataclasses.dataclass(frozen=True)
class Task:
  """Regression with noise, so that the random key matters."""

  width: int = 16

  def init(self, rng, batch):
    hidden_rng, kernel_rng, rng = jax.random.split(rng, 3)
    inputs = batch["x_BxD"].shape[1]
    params = {
      "hidden": jax.random.uniform(hidden_rng, (inputs, self.width)) - 0.5,
      "kernel": jax.random.uniform(kernel_rng, (self.width, 1)) - 0.5,
      "bias": jnp.zeros(1),
    }
    # The average begins as the same arrays: donation must cope with it.
    opt = TX.init(params)
    return State(step=jnp.int32(0), rng=rng, params=params, ema=params, opt=opt)

  def start_from(self, state, variables):
    return state.replace(params=variables, ema=variables)

  def _loss(self, params, batch):
    h_BxD = jnp.tanh(batch["x_BxD"] @ params["hidden"])
    y_Bx1 = h_BxD @ params["kernel"] + params["bias"][None]
    return jnp.mean((y_Bx1[:, 0] - batch["y_B"]) ** 2)

  def train_step(self, state, batch):
    noise_rng = jax.random.fold_in(state.rng, state.step)
    noise = 0.1 * jax.random.uniform(noise_rng, batch["x_BxD"].shape)
    noisy = {**batch, "x_BxD": batch["x_BxD"] + noise}
    loss, grads = jax.value_and_grad(self._loss)(state.params, noisy)
    updates, opt = TX.update(grads, state.opt, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = optax.incremental_update(params, state.ema, 0.1)
    usage = jnp.abs(params["kernel"][:2, 0])
    state = state.replace(step=state.step + 1, params=params, ema=ema, opt=opt)
    return state, {"loss": loss, "grad_norm": optax.tree.norm(grads), "usage": usage}

  def eval_step(self, state, batch):
    weight = jnp.float32(batch["x_BxD"].shape[0])
    return {"loss": self._loss(state.ema, batch), "weight": weight}

  def inference_variables(self, state):
    return state.ema


def make_batch(number, size=8):
  rng = np.random.default_rng(number)
  x_BxD = rng.standard_normal((size, 8)).astype(np.float32)
  index_B = np.arange(size) + size * number
  text = np.array([f"utterance {i}" for i in index_B])
  return {"x_BxD": x_BxD, "y_B": x_BxD.sum(1), "index_B": index_B, "text": text}


class Data:
  """Endless batches, or `end` of them; `spoil` changes a batch, given its number."""

  def __init__(self, *, seconds=0.0, end=None, size=8, spoil=None):
    self.seconds, self.end, self.size, self.spoil = seconds, end, size, spoil

  def __iter__(self):
    return DataIterator(self)


class DataIterator:
  def __init__(self, data):
    self._data, self._next = data, {"next": 0}

  def __iter__(self):
    return self

  def __next__(self):
    number = self._next["next"]
    if number == self._data.end:
      raise StopIteration
    self._next["next"] += 1
    time.sleep(self._data.seconds)
    batch = make_batch(number, self._data.size)
    return self._data.spoil(number, batch) if self._data.spoil else batch

  def get_state(self):
    return self._next  # not a copy: grain's own iterators don't promise one either

  def set_state(self, state):
    self._next = dict(state)


def fit(workdir, steps, *, task=None, data=None, mesh=None, **options):
  defaults = {"seed": 0, "rules": RULES, "log_every": 1, "checkpoint_every": 5}
  return loop.fit(
    task or Task(),
    data or Data(),
    steps=steps,
    workdir=workdir,
    mesh=mesh or sharding.make_mesh({"data": 1}),
    **{**defaults, **options},
  )


def bits(state):
  """Returns a digest of every bit of a state."""
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(state):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.random.key_data(leaf)
    digest.update(np.asarray(leaf).tobytes())
  return digest.hexdigest()


if __name__ == "__main__":
  final = fit(sys.argv[1], int(sys.argv[2]), data=Data(seconds=0.002), log_every=3)
  print(bits(final))
