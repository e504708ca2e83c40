"""A kernel for all levels of a residual quantiser, which stores no scores.

Each of its programs keeps the residual of some frames, and goes through a level's codes
tile by tile with the best so far. It reads latents and codebooks, and writes codes.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from jaxcodec.nn import platform

# Platforms whose codes it finds: none until `benchmarks/rvq.py` has shown one where it
# is faster than XLA's own operations.
PLATFORMS: tuple[str, ...] = ()
# Triton wants powers of two, and at least so many terms of a product.
_LEAST_WIDTH = 16
# A TPU core's own memory holds the codebooks, twice, beside all else.
_MOST_BYTES = 4 * 2**20


class _Form(NamedTuple):
  """How the kernel is written for a platform.

  Attributes:
    frames: of a program.
    codes: of a tile.
    gathers: whether rows of a codebook are read by their numbers; if not, they come of
      a product with ones and zeros, which is as exact.
    options: of `pallas_call`.
  """

  frames: int
  codes: int
  gathers: bool
  options: dict[str, Any]


_GPU = _Form(64, 64, True, {"compiler_params": triton.CompilerParams(num_warps=4)})
_TPU = _Form(128, 128, False, {})


def chosen(books: Sequence[jax.Array]) -> bool:
  """Whether codes are found by the kernel: where it is faster, and a core has room."""
  small = 4 * sum(book.size for book in books) <= _MOST_BYTES
  name = "cuda" if platform.has_cudnn_attention() else platform.name()
  return name in PLATFORMS and (small or name != "tpu")


def fused(
  z_BxTxD: jax.Array, books: Sequence[jax.Array], *, interpret: bool = False
) -> jax.Array:
  """Returns the codes of `residual.at_once`, (B, T, K) int32.

  Args:
    z_BxTxD: float32 latents.
    books: the K codebooks, (V, D) each.
    interpret: whether to run it without an accelerator, slowly.
  """
  form = _TPU if platform.name() == "tpu" else _GPU
  B, T, D = z_BxTxD.shape
  K, V = len(books), len(books[0])
  width = max(_LEAST_WIDTH, pl.next_power_of_2(D))
  x_NxD = _padded(z_BxTxD.reshape(-1, D), form.frames, width)
  book_KxVxD = jnp.stack([_padded(book, form.codes, width) for book in books])
  half_KxV = 0.5 * jnp.sum(book_KxVxD**2, -1)
  # A code that isn't one is infinitely far.
  half_KxV = jnp.where(jnp.arange(book_KxVxD.shape[1])[None] < V, half_KxV, jnp.inf)
  half_KxSxV = half_KxV.reshape(K, -1, form.codes)  # S tiles
  codes_KxN = pl.pallas_call(
    functools.partial(_kernel, form=form),
    grid=(len(x_NxD) // form.frames,),
    in_specs=[
      pl.BlockSpec((form.frames, width), lambda i: (i, 0)),
      pl.BlockSpec(book_KxVxD.shape, lambda i: (0, 0, 0)),
      pl.BlockSpec(half_KxSxV.shape, lambda i: (0, 0, 0)),
    ],
    out_specs=pl.BlockSpec((K, form.frames), lambda i: (0, i)),
    out_shape=jax.ShapeDtypeStruct((K, len(x_NxD)), jnp.int32),
    interpret=interpret,
    **form.options,
  )(x_NxD, book_KxVxD, half_KxSxV)
  return codes_KxN[:, : B * T].T.reshape(B, T, K)


def _padded(x_NxD, multiple, width):
  rows, columns = x_NxD.shape
  return jnp.pad(x_NxD, ((0, -rows % multiple), (0, width - columns)))


def _kernel(x_ref, book_ref, half_ref, codes_ref, *, form):
  """Finds the codes of a block of frames."""

  def level(k, left_NxD):
    search = functools.partial(_search_tile, left_NxD, book_ref, half_ref, k, form)
    code_Nx1, row_NxD = _search(search, left_NxD, half_ref.shape[1], form)
    codes_ref[k, :] = code_Nx1[:, 0]
    return left_NxD - (book_ref[k, code_Nx1[:, 0], :] if form.gathers else row_NxD)

  lax.fori_loop(0, codes_ref.shape[0], level, x_ref[...])


def _search(search, left_NxD, tiles, form):
  """Returns the best code, and its row unless that is gathered."""

  def step(tile, best):
    score_Nx1, code_Nx1, row_NxD = best
    top_Nx1, at_Nx1, found_NxD = search(tile)
    # Of equals the first tile's stays.
    better_Nx1 = top_Nx1 > score_Nx1
    if not form.gathers:
      row_NxD = jnp.where(better_Nx1, found_NxD, row_NxD)
    code_Nx1 = jnp.where(better_Nx1, tile * form.codes + at_Nx1, code_Nx1)
    return jnp.maximum(top_Nx1, score_Nx1), code_Nx1, row_NxD

  shape = left_NxD.shape[0], 1
  worst_Nx1 = jnp.full(shape, -jnp.inf, jnp.float32)
  begin = worst_Nx1, jnp.zeros(shape, jnp.int32), jnp.zeros_like(left_NxD)
  return lax.fori_loop(0, tiles, step, begin)[1:]


def _search_tile(left_NxD, book_ref, half_ref, k, form, tile):
  """Returns the best score in a tile, where it is first, and that row."""
  embed_VxD = book_ref[k, pl.ds(tile * form.codes, form.codes), :]
  score_NxV = _product(left_NxD, embed_VxD, 1) - half_ref[k, tile, :][None]
  top_Nx1 = score_NxV.max(-1, keepdims=True)
  at_NxV = lax.broadcasted_iota(jnp.int32, score_NxV.shape, 1)
  at_Nx1 = jnp.where(score_NxV == top_Nx1, at_NxV, form.codes - 1)
  at_Nx1 = at_Nx1.min(-1, keepdims=True)
  if form.gathers:
    return top_Nx1, at_Nx1, None
  hit_NxV = (at_NxV == at_Nx1).astype(jnp.float32)
  return top_Nx1, at_Nx1, _product(hit_NxV, embed_VxD, 0)


def _product(a, b, axis):
  """Sums over the last axis of `a` and one of `b`, as exactly as float32 can."""
  axes = ((1,), (axis,)), ((), ())
  return lax.dot_general(a, b, axes, precision=lax.Precision.HIGHEST)
