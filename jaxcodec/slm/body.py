"""The transformer that every language model here is built around."""

from typing import Any

from jaxcodec.nn import attention


def make_transformer(model: Any, num_levels: int) -> attention.Transformer:
  """Makes the transformer of a model's sizes.

  Args:
    model: has the fields depth, heads, mlp_width, dropout, dtype and remat.
    num_levels: codebook levels, each with gains of its own in the norms.
  """
  return attention.Transformer(
    model.depth,
    model.heads,
    model.mlp_width,
    num_levels=num_levels,
    dropout=model.dropout,
    dtype=model.dtype,
    remat=model.remat,
  )
