"""Codes audio as it comes, block by block, with the codes of the whole.

A causal part with a `step` goes on from the states of its layers; see `nn.stepping`.
Any other runs over the frames that it still sees: its output is late by as much as it
looks ahead, and what it looks back on is computed again with every block.

All shapes follow from those of the state and of the block, so that `encode` and
`decode` are compiled once for a size of blocks, after a few programs for the beginning.
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from jaxcodec.codecs.codec import Codec
from jaxcodec.nn.conv import mask_frames
from jaxcodec.types import Tokens


@flax.struct.dataclass
class PartState:
  """What an encoder or a decoder keeps between blocks.

  Attributes:
    kept_BxTxC: input frames that are still needed, as what comes after is not known.
    first: place of the first of them in the stream, int32.
    valid_B: how many of them are an item's own; all if None.
    layers: states of the layers; None before the first step, and without steps.
  """

  kept_BxTxC: jax.Array
  first: jax.Array
  valid_B: jax.Array | None = None
  layers: Any = None


@flax.struct.dataclass
class StreamState:
  """The states of both halves; each moves without the other."""

  encoder: PartState
  decoder: PartState


def check(codec: Codec) -> None:
  """Raises ValueError if a bound codec cannot code streams, saying why."""
  if codec.segments is not None or codec.normalize:
    raise ValueError("this codec codes segments by their level: it has no streams")
  for name in ("encoder", "decoder"):
    part = getattr(codec, name)
    if not hasattr(part, "reach"):
      raise ValueError(f"the {name} does not say how far it sees (`reach`)")
    unbounded = part.reach.groups_around[0] == float("inf") and not _steps(part)
    if part.reach.sees_all or unbounded:
      raise ValueError(f"the {name} sees a whole clip at once: it has no streams")


def start(codec: Codec, batch: int) -> StreamState:
  """Returns the state of a stream of so many items, before its first block."""
  halves = ((batch, 0, n) for n in (codec.num_channels, codec.encoder.output_dim))
  zero = jnp.zeros((), jnp.int32)
  return StreamState(*(PartState(jnp.zeros(shape), zero) for shape in halves))


def delays(codec: Codec) -> tuple[int, int]:
  """Returns the samples that the encoder and the decoder look ahead."""
  ahead = (part.reach.groups_around[1] for part in (codec.encoder, codec.decoder))
  encoder, decoder = ahead
  return int(encoder), int(decoder) * codec.spec.hop


def leads(codec: Codec) -> tuple[int, int]:
  """Returns of how many samples, and of how many frames, the first outputs are."""
  reaches = (part.reach for part in (codec.encoder, codec.decoder))
  encoder, decoder = (max(r.lead, r.down + r.groups_around[1]) for r in reaches)
  return int(encoder), int(decoder)


def encode(
  codec: Codec,
  state: StreamState,
  x_BxNxC: jax.Array,
  length_B: jax.Array | None = None,
  *,
  num_codebooks: int | None = None,
  last: bool = False,
) -> tuple[Tokens, StreamState]:
  """Encodes the next block.

  Args:
    codec: bound.
    state: what came before left.
    x_BxNxC: the block; N is a multiple of the hop, but any number in the last.
    length_B: valid samples of each item; all if None. An item whose samples end has
      none in later blocks.
    num_codebooks: see `Codec.encode`.
    last: whether nothing follows.

  Returns:
    The tokens of the frames that are now known, (B, 0, K) if none are; the state.
  """
  B, N, _ = x_BxNxC.shape
  K = num_codebooks or codec.spec.num_codebooks
  if missing := -N % codec.spec.hop:
    x_BxNxC = jnp.pad(x_BxNxC, ((0, 0), (0, missing), (0, 0)))
    length_B = jnp.full(B, N, jnp.int32) if length_B is None else length_B
  z_BxTxD, valid_B, encoder = _advance(
    codec.encoder, state.encoder, x_BxNxC, length_B, last
  )
  state = state.replace(encoder=encoder)
  if z_BxTxD is None:
    return Tokens(jnp.zeros((B, 0, K), jnp.int32), jnp.zeros((B, 0), bool)), state
  codes_BxTxK = codec.quantizer.encode(z_BxTxD, num_codebooks=num_codebooks)
  mask_BxT = jnp.ones(codes_BxTxK.shape[:2], bool)
  if valid_B is not None:
    mask_BxT = mask_frames(mask_BxT[..., None], valid_B)[..., 0].astype(bool)
  return Tokens(jnp.where(mask_BxT[..., None], codes_BxTxK, 0), mask_BxT), state


def decode(
  codec: Codec, state: StreamState, tokens: Tokens, *, last: bool = False
) -> tuple[jax.Array, StreamState]:
  """Decodes the next frames, any number; frames that aren't valid are silence.

  Returns:
    The audio (B, N, C) that is now known, (B, 0, C) if none is; the state.
  """
  B, T, K = tokens.codes_BxTxK.shape
  z_BxTxD = jnp.zeros((B, 0, state.decoder.kept_BxTxC.shape[2]))
  if T:
    z_BxTxD = codec.quantizer.decode(tokens.codes_BxTxK)
  y_BxNxC, valid_B, decoder = _advance(
    codec.decoder,
    state.decoder,
    z_BxTxD,
    tokens.mask_BxT.sum(-1),
    last,
    num_codebooks=K,
  )
  state = state.replace(decoder=decoder)
  if y_BxNxC is None:
    return jnp.zeros((B, 0, codec.num_channels)), state
  return mask_frames(y_BxNxC, valid_B), state


def _steps(part: nn.Module) -> bool:
  return hasattr(part, "step") and part.reach.after == 0


def _advance(part, state, x_BxTxC, valid_B, last, **options):
  """Returns what is now known of the output, or None; its valid frames; the state."""
  kept = state.kept_BxTxC.shape[1]
  if valid_B is not None or state.valid_B is not None:
    new_B = x_BxTxC.shape[1] if valid_B is None else valid_B
    valid_B = new_B + (kept if state.valid_B is None else state.valid_B)
  x_BxTxC = jnp.concatenate([state.kept_BxTxC, x_BxTxC], 1)
  advance = _step if _steps(part) else _slide
  return advance(part, state, x_BxTxC, valid_B, last, **options)


def _step(part, state, x_BxTxC, valid_B, last, **options):
  T, begun = x_BxTxC.shape[1], state.layers is not None
  if not T or not (begun or last or part.reach.lead <= T):
    return None, None, state.replace(kept_BxTxC=x_BxTxC, valid_B=valid_B)
  if last and not begun:
    return part(x_BxTxC, valid_B, **options), part.reach.outputs(valid_B), state
  inside_B = valid_B if part.reach.down > 1 else None  # else no frame sees later ones
  y_BxTxC, layers = part.step(x_BxTxC, state.layers, inside_B)
  state = PartState(x_BxTxC[:, T:], state.first + T, None, layers)
  return y_BxTxC, part.reach.outputs(valid_B), state


def _slide(part, state, x_BxTxC, valid_B, last, **options):
  reach, T = part.reach, x_BxTxC.shape[1]
  before, after = reach.groups_around
  lead = -(-reach.lead // reach.down) * reach.down

  def known(frames):
    return 0 if frames < lead else max(0, frames - after)

  begin, end = known(state.kept_BxTxC.shape[1]), T if last else known(T)
  cut = max(0, min(end - before, T - lead))
  later = PartState(
    x_BxTxC[:, cut:],
    state.first + cut,
    None if valid_B is None else jnp.maximum(valid_B - cut, 0),
  )
  if begin == end:
    return None, None, later
  if getattr(part, "placed", False):
    options["first"] = state.first
  y_BxTxC = part(x_BxTxC, valid_B, **options)
  y_BxTxC = jnp.pad(y_BxTxC, ((0, 0), (0, reach.missing), (0, 0)))
  begin, end = (n * reach.up // reach.down for n in (begin, end))
  if valid_B is not None:
    valid_B = jnp.clip(reach.outputs(valid_B) - begin, 0, end - begin)
  return y_BxTxC[:, begin:end], valid_B, later
