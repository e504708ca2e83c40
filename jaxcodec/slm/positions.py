"""Where the symbols and frames of a row stand, for rotary positions.

A model learns sooner which symbol a frame belongs to where the two stand together.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec.types import Batch

# A text stands between two symbols that aren't spoken: its begin and its end.
_UNSPOKEN = 2
# From one symbol to the next in "aligned". A symbol lasts some frames, so neighbouring
# frames are about as far apart as in a plain count, which heads tell apart easily.
_SYMBOL = 4.0
# How much faster than a model's training texts, or slower, it speaks behind a prompt.
_FASTEST = 1.6


class Pace(NamedTuple):
  """How fast the rows' texts are spoken.

  Attributes:
    prompt_symbols_B: spoken symbols of the prompt's text, 0 without a prompt.
    prompt_frames_B: frames of the prompt.
    rate_B: symbols a frame behind the prompt.
  """

  prompt_symbols_B: jax.Array
  prompt_frames_B: jax.Array
  rate_B: jax.Array


def check(kind: str) -> None:
  """Raises ValueError if there is no such kind of positions.

  "aligned": a frame stands where its symbol does, if all symbols last equally long. In
  a prompt its own symbols and frames say how long that is, behind it `Pace.rate_B`.
  "separate": symbols and frames are counted apart (VALL-E, arXiv 2301.02111).
  "sequence": the frames' count goes on from the symbols'.
  """
  if kind not in ("aligned", "separate", "sequence"):
    raise ValueError(
      f"positions must be 'aligned', 'separate' or 'sequence', got {kind!r}"
    )


def spoken(text_mask_BxS: jax.Array) -> jax.Array:
  """Returns the number of symbols between the begin and the end of each text, (B,)."""
  return jnp.maximum(text_mask_BxS.sum(1) - _UNSPOKEN, 0)


def own_pace(
  text_mask_BxS: jax.Array,
  mask_BxT: jax.Array,
  prompt_symbols_B: jax.Array | None = None,
  prompt_frames_B: jax.Array | None = None,
) -> Pace:
  """Returns the pace of rows whose length is known: the text ends with the frames."""
  if prompt_symbols_B is None or prompt_frames_B is None:
    prompt_symbols_B = prompt_frames_B = jnp.zeros(mask_BxT.shape[:1], jnp.int32)
  symbols_B = spoken(text_mask_BxS) - prompt_symbols_B
  rate_B = _rate(symbols_B, mask_BxT.sum(1) - prompt_frames_B)
  return Pace(prompt_symbols_B, prompt_frames_B, rate_B)


def own_pace_of(batch: Batch) -> Pace:
  """Returns the pace of a batch's rows; without a boundary, each is one utterance."""
  return own_pace(
    batch["text_mask_BxS"],
    batch["mask_BxT"],
    batch.get("prompt_symbols_B"),
    batch.get("prompt_frames_B"),
  )


def prompt_pace(
  prompt_symbols_B: jax.Array, prompt_frames_B: jax.Array, otherwise: float
) -> Pace:
  """Returns the pace of rows that go on as their prompts do, or else at `otherwise`.

  A prompt of one word, or one with long silences, is slower than any whole sentence:
  rows are at most 1.6 times as fast or slow as `otherwise`.
  """
  rate_B = _rate(prompt_symbols_B, prompt_frames_B)
  near_B = jnp.clip(rate_B, otherwise / _FASTEST, otherwise * _FASTEST)
  rate_B = jnp.where(rate_B > 0, near_B, otherwise)
  return Pace(prompt_symbols_B, prompt_frames_B, rate_B)


def place(
  kind: str,
  text_mask_BxS: jax.Array,
  mask_BxT: jax.Array,
  pace: Pace,
  *,
  begin: bool = False,
) -> jax.Array:
  """Returns the positions of `[text ; frames]`, (B, S + T) float32.

  They depend on a row's valid entries alone, so that padding changes nothing.

  Args:
    kind: see `check`.
    text_mask_BxS: valid symbols.
    mask_BxT: valid frames, with `begin` also that entry.
    pace: of the rows.
    begin: whether the first of the T entries stands before the frames.
  """
  scale = _SYMBOL if kind == "aligned" else 1.0
  text_BxS = scale * _count(text_mask_BxS)
  frame_BxT = _count(mask_BxT) - begin
  frames_BxT = place_frames(kind, text_mask_BxS, frame_BxT, pace, begin=begin)
  return jnp.concatenate([text_BxS, frames_BxT], axis=1)


def place_frames(
  kind: str,
  text_mask_BxS: jax.Array,
  frame_BxT: jax.Array,
  pace: Pace,
  *,
  begin: bool = False,
) -> jax.Array:
  """Returns the positions of frames by their numbers, (B, T) float32; see `place`."""
  if kind == "sequence":
    return (text_mask_BxS.sum(1)[:, None] + begin + frame_BxT).astype(jnp.float32)
  if kind == "separate":
    return (begin + frame_BxT).astype(jnp.float32)
  past_symbols_Bx1, past_Bx1, rate_Bx1 = (x_B[:, None] for x_B in pace)
  # The middle of a frame, from the beginning of the first spoken symbol on.
  prompt_BxT = (frame_BxT + 0.5) * _rate(past_symbols_Bx1, past_Bx1)
  behind_BxT = past_symbols_Bx1 + (frame_BxT - past_Bx1 + 0.5) * rate_Bx1
  symbol_BxT = jnp.where(frame_BxT < past_Bx1, prompt_BxT, behind_BxT)
  # Symbol 1 is the first spoken one, and reaches half a symbol to each side.
  return _SYMBOL * (0.5 + symbol_BxT)


def _rate(symbols, frames):
  return jnp.maximum(symbols, 0) / jnp.maximum(frames, 1)


def _count(mask_BxN):
  count_BxN = jnp.cumsum(mask_BxN, axis=1, dtype=jnp.int32)
  return jnp.maximum(count_BxN - 1, 0).astype(jnp.float32)
