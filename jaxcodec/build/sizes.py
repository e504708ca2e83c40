"""How large the parts of a codec are, and what they compute."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.build.codec import make_codec
from jaxcodec.build.fields import Config
from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.nn import platform
from jaxcodec.quantizers.codebook import STATS
from jaxcodec.train import flops

PARTS = ("encoder", "quantizer", "decoder")
# Audio that is counted, long enough for its edges not to matter.
_SECONDS = 10
# What training keeps beside a codebook of running means.
_STATISTICS = ("embed_avg", "cluster_size", "inited")


def part_sizes(config: Config) -> dict[str, dict[str, float]]:
  """Returns the parameters of each part and its multiply-adds for a second of audio.

  Parameters are counted as they are trained, with codebooks that are running means.
  Multiply-adds are those of matrix products and convolutions as a GPU's program has
  them: of the encoder, of the quantiser from latents to codes, and of the decoder.

  Args:
    config: with `codec`; see `build.codec.make_codec`.

  Returns:
    {"parameters", "macs_per_second"} by part. Nothing is computed but shapes.
  """
  codec = make_codec(config)
  shapes = variable_shapes(codec)
  with platform.assume("gpu"):
    macs = {part: _flops(codec, shapes, part) / 2 / _SECONDS for part in PARTS}
  return {
    part: {"parameters": _count(shapes, part), "macs_per_second": macs[part]}
    for part in PARTS
  }


def _count(shapes: Any, part: str) -> int:
  """Counts a part's parameters and codes."""
  kept = [shapes["params"].get(part, {}), shapes.get(STATS, {}).get(part, {})]
  leaves = jax.tree_util.tree_leaves_with_path(kept)
  return sum(
    math.prod(leaf.shape) for path, leaf in leaves if path[-1].key not in _STATISTICS
  )


def _flops(codec: Codec, shapes: Any, part: str) -> float:
  frames = _SECONDS * codec.sample_rate // codec.encoder.hop
  inputs = {
    "encoder": (1, frames * codec.encoder.hop, codec.num_channels),
    "quantizer": (1, frames, codec.encoder.output_dim),
    "decoder": (1, frames, codec.encoder.output_dim),
  }
  run = lambda variables, x: codec.apply(variables, x, method=_RUN[part])  # noqa: E731
  x = jax.ShapeDtypeStruct(inputs[part], jnp.float32)
  return flops.count(jax.make_jaxpr(run)(shapes, x)).model


_RUN: dict[str, Callable[[Codec, jax.Array], jax.Array]] = {
  "encoder": lambda codec, x: codec.encoder(x),
  "quantizer": lambda codec, x: codec.quantizer.encode(x),
  "decoder": lambda codec, x: codec.decoder(x, num_codebooks=codec.spec.num_codebooks),
}
