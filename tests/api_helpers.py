"""The smallest codec that has weights, a config and something to bucket."""

import json

import jax
import jax.numpy as jnp

from jaxcodec import build, export

RATE, HOP, K, V = 8000, 2, 2, 16
CONFIG = dict(
  sample_rate=RATE,
  encoder=dict(name="dac", width=2, strides=(2,), latent_dim=8),
  quantizer=dict(
    name="factorized_rvq", num_codebooks=K, codebook_size=V, codebook_dim=4
  ),
  decoder=dict(name="dac", width=4, strides=(2,)),
)


def codec_and_variables(seed=0):
  codec = build.make_preset(CONFIG)
  init = jax.jit(lambda key: codec.init(key, jnp.zeros((1, HOP, 1))))
  return codec, init(jax.random.key(seed))


def save_experiment(folder):
  """What an experiment leaves of its codec."""
  metadata = {"config": json.dumps(CONFIG)}
  path = folder / "codec" / export.FILE
  export.save_params(path, codec_and_variables()[1], metadata)
  return folder
