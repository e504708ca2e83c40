"""Runs a codec in training, whole or with parts that keep their bits."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn import partition


def run(
  codec: nn.Module,
  params: Any,
  collections: Any,
  audio_BxN: jax.Array,
  rng: jax.Array,
  freeze: Sequence[str] = (),
  semantic: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> tuple[tuple[jax.Array, dict[str, jax.Array]], tuple[dict[str, jax.Array], Any]]:
  """Reconstructs crops.

  A decoder that is conditioned on the number of codebooks (`bandwidth_codebooks`) and
  trained for frozen tokens is given one of its numbers for the whole batch, each as
  often, and there are no metrics of codebooks then. Source: vocos/experiment.py,
  VocosEncodecExp.

  Args:
    codec: maps (B, N, 1) to its reconstruction and a `Quantized`.
    params, collections: its variables.
    audio_BxN: the crops.
    rng: of the quantiser's dropout, or of the number of codebooks.
    freeze: its frozen parts, "encoder" or "quantizer" or both.
    semantic: features (B, T, S) of audio (B, N) and its lengths (B,), which the
      quantiser is taught unless it is frozen.

  Returns:
    (the reconstruction (B, N), the quantiser's losses), (metrics, the codes among them;
    new collections).
  """
  variables = {"params": partition.whole(params), **collections}
  given = {"frozen": tuple(freeze)} if freeze else {}
  if semantic is not None and "quantizer" not in freeze:
    length_B = jnp.full(audio_BxN.shape[:1], audio_BxN.shape[1])
    given["semantic_BxTxS"] = lax.stop_gradient(semantic(audio_BxN, length_B))

  def apply(num_codebooks=None):
    options = {"num_codebooks": num_codebooks} if num_codebooks else {}
    (y_BxNx1, quantized), new = codec.apply(
      variables,
      audio_BxN[..., None],
      train=True,
      rngs={"quantizer": rng},
      mutable=list(collections),
      **options,
      **given,
    )
    metrics = {**quantized.metrics, "codes_BxTxK": quantized.codes_BxTxK}
    return (y_BxNx1[..., 0], quantized.losses), (metrics, new)

  if set(freeze) != {"encoder", "quantizer"}:
    return apply()
  numbers = getattr(codec.decoder, "bandwidth_codebooks", None)
  if not numbers:
    return apply()
  drawn = jax.random.randint(rng, (), 0, len(numbers))
  branches = [functools.partial(lambda n: apply(n)[0], number) for number in numbers]
  return lax.switch(drawn, branches), ({}, collections)
