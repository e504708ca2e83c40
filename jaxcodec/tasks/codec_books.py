"""What training does with codebooks outside of its steps, in programs of their own.

They are started on a batch, once, and on steps that are logged their use is measured.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.codecs.codec import Codec
from jaxcodec.quantizers import ema
from jaxcodec.quantizers.codebook import use_of_codes
from jaxcodec.tasks.codec_state import CodecState
from jaxcodec.types import Metrics, Quantized

# Of the random key, which no step's number is.
_START = np.uint32(2**32 - 1)


def begin(
  codec: Codec,
  state: CodecState,
  audio_BxN: Any,
  *,
  accumulate: int = 1,
  freeze: Sequence[str] = (),
) -> CodecState:
  """Returns the state with all its codebooks started; see `EmaRVQ.start`.

  It takes the first of the parts that a step computes the batch in, as running counts
  are those of a part. A state without a codebook that waits is returned as it is.

  Args:
    codec: whose quantiser has a method `start` if its codebooks wait for data.
    state: fresh, or from a checkpoint.
    audio_BxN: of training.
    accumulate: how many parts there are.
    freeze: parts of the codec that aren't trained.
  """
  if "quantizer" in freeze or not ema.awaits_start(state.collections):
    return state

  def start(params, collections, audio_BxN, rng):
    _, started = codec.apply(
      {"params": params, **collections},
      audio_BxN[::accumulate, :, None],
      frozen=tuple(freeze),
      method="start",
      rngs={"quantizer": jax.random.fold_in(rng, _START)},
      mutable=list(collections),
    )
    return {**collections, **started}

  places = jax.tree.map(lambda leaf: leaf.sharding, state.collections)
  inputs = state.params, state.collections, audio_BxN, state.rng
  return state.replace(collections=jax.jit(start, out_shardings=places)(*inputs))


def summarize(codec: Codec, rows: Metrics) -> Metrics:
  """Returns the use of codebooks in a step, of `rows` that have its codes_BxTxK."""
  codes_BxTxK = rows.get("codes_BxTxK")
  if codes_BxTxK is None:
    return {}
  return use_of_codes(codes_BxTxK, codec.spec.codebook_size)


def heard_metrics(codec: Codec, quantized: Quantized, length_B: jax.Array) -> Metrics:
  """Returns the quantiser's metrics, of codes only those of frames that begin in audio.

  Held-out rows end with padding, whose one code would count as much as all others. The
  energies are of all frames. Which codes are live is about training, whose counts
  can't be told from so many more frames.

  Args:
    codec: whose hop and codebook size count.
    quantized: of whole rows, codes (B, T, K).
    length_B: samples of audio in each row, 0 for a filler.
  """
  codes_BxTxK = quantized.codes_BxTxK
  at_T = codec.spec.hop * jnp.arange(codes_BxTxK.shape[1])
  mask_BxT = at_T[None] < length_B[:, None]
  use = use_of_codes(codes_BxTxK, codec.spec.codebook_size, mask_BxT)
  found = {name: x for name, x in quantized.metrics.items() if name != "live"}
  return {**found, **use}
