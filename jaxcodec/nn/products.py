"""Products in float32 whose gradients are in the operands' type."""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def einsum_float32(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
  """Returns `jnp.einsum(subscripts, a, b)` as float32 sums of the operands' products.

  Without a rule of its own, the gradient of such a product multiplies a float32
  cotangent by a bfloat16 operand, which GPUs and TPUs do at the rate of float32. Here
  the cotangent is rounded to the operands' type first.
  """
  return _einsum(subscripts, a, b)


def _einsum(subscripts, a, b):
  return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)


def _forward(subscripts, a, b):
  # Not by the function with the rule, in which `nn.remat` would see no product to keep.
  return _einsum(subscripts, a, b), (a, b)


def _backward(subscripts, operands, cotangent):
  _, pullback = jax.vjp(functools.partial(jnp.einsum, subscripts), *operands)
  return pullback(cotangent.astype(jnp.result_type(*operands)))


einsum_float32.defvjp(_forward, _backward)
