"""A codec that compiles in no time, and the config and weights of a small real one."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec import weights
from jaxcodec.api import CodecModel
from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.nn.conv import Conv1d, ConvTranspose1d
from jaxcodec.quantizers.factorized import FactorizedRVQ

RATE, HOP, K, V, D = 8000, 2, 2, 16, 8
CONFIG = dict(
  sample_rate=RATE,
  encoder=dict(name="dac", width=2, strides=(HOP,), latent_dim=D),
  quantizer=dict(
    name="factorized_rvq", num_codebooks=K, codebook_size=V, codebook_dim=4
  ),
  decoder=dict(name="dac", width=4, strides=(HOP,)),
)


class Encoder(nn.Module):
  hop, channels, output_dim = HOP, 1, D
  reach = Conv1d(D, 2 * HOP, HOP, padding=1, parent=None).reach

  @nn.compact
  def __call__(self, x_BxNxC, valid_B=None, *, train=False):
    return Conv1d(D, 2 * HOP, HOP, padding=1)(x_BxNxC, valid_B)


class Decoder(nn.Module):
  hop = HOP
  reach = ConvTranspose1d(1, HOP, parent=None).reach

  @nn.compact
  def __call__(self, z_BxTxD, valid_B=None, *, num_codebooks=None, train=False):
    return ConvTranspose1d(1, HOP)(z_BxTxD, valid_B)


@functools.cache
def toy(seed=0, **fields):
  """Returns a codec that compiles at once, and its variables."""
  codec = Codec(Encoder(), FactorizedRVQ(D, K, V, 4), Decoder(), RATE, **fields)
  init = jax.jit(lambda key: codec.init(key, jnp.zeros((1, HOP, 1))))
  return codec, init(jax.random.key(seed))


@functools.cache
def toy_model(seed=0):
  return CodecModel(*toy(seed))


def save_experiment(folder):
  """Writes an experiment's codec files and returns its variables."""
  shapes = variable_shapes(make_preset(CONFIG))
  variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
  metadata = {"config": json.dumps(CONFIG)}
  weights.save_params(folder / "codec" / weights.FILE, variables, metadata)
  return variables


def random_variables(codec, seed=0):
  """Returns variables with which codes differ from frame to frame."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    name = path[-1].key
    if name in ("bias", "scale"):  # large ones drown the audio; norms keep it
      return np.full(leaf.shape, 1.5 * (name == "scale"), np.float32)
    return (0.3 * rng.standard_normal(leaf.shape)).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, variable_shapes(codec))
