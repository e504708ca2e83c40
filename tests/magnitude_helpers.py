"""A small codec of magnitudes, and harmonic audio for it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.build.codec import make_codec

RATE, HOP = 8_000, 32
SIZES = dict(width=12, mlp_width=20, depth=1, n_fft=64, hop=HOP, sub_hop=16)


def config(encoder=None, decoder=None, **quantizer):
  books = dict(name="ema_rvq", num_codebooks=2, codebook_size=8)
  fields = {k: v for k, v in {**books, **quantizer}.items() if v is not None}
  return dict(
    sample_rate=RATE,
    encoder={"name": "magnitude", **SIZES, **(encoder or {})},
    quantizer=fields,
    decoder={"name": "magnitude", **SIZES, "iterations": 4, **(decoder or {})},
  )


def fresh(**quantizer):
  """Returns a codec and its first variables."""
  codec = make_codec({"codec": config(**quantizer)})
  return codec, jax.jit(codec.init)(jax.random.key(0), jnp.zeros((1, HOP, 1)))


def voices(rows, frames, seed=0):
  """Harmonics of gliding pitches, louder and softer, (rows, frames * HOP) float32."""
  rng = np.random.default_rng(seed)
  t = np.arange(frames * HOP) / RATE
  pitch, rate = rng.uniform(90, 250, (rows, 1)), rng.uniform(3, 9, (rows, 1))
  turns = np.cumsum(pitch * (1 + 0.2 * np.sin(rate * t[None])), 1) / RATE
  x = sum(np.cos(2 * np.pi * k * turns + k * k) / k for k in range(1, 12))
  loud = 0.2 + np.sin(2 * np.pi * rate * t[None]) ** 2
  return (0.1 * x * loud + 1e-3 * rng.standard_normal(x.shape)).astype(np.float32)
