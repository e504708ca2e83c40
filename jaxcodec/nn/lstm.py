"""LSTM over (B, T, D) by a scan, with a gradient of its own.

States are columns, (D, B), so that their product with torch's weights (4 D, D) reads
these along their rows. Compilers for GPUs and TPUs choose the layout themselves.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.conv import Dtype, torch_uniform
from jaxcodec.nn.reach import Reach

# (h, c), columns (D, B) float32.
State = tuple[jax.Array, jax.Array]


def _cell(weight_4DxD, state, inputs_4DxB):
  """Returns (h, c) after one step, and the gates after their non-linearities."""
  h_DxB, c_DxB = state
  gates = weight_4DxD @ h_DxB.astype(weight_4DxD.dtype) + inputs_4DxB
  i, f, g, o = jnp.split(gates.astype(jnp.float32), 4)
  i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
  c_DxB = f * c_DxB + i * g
  return (o * jnp.tanh(c_DxB), c_DxB), (i, f, g, o)


def _zero_state(inputs_Tx4DxB):
  _, width, B = inputs_Tx4DxB.shape
  zeros = jnp.zeros((width // 4, B), jnp.float32)
  return zeros, zeros


@jax.custom_vjp
def lstm(inputs_Tx4DxB: jax.Array, weight_4DxD: jax.Array) -> jax.Array:
  """Returns the states h (T, D, B) float32 of an LSTM that starts from zeros.

  Products are computed in the arguments' type. The gradient of the weights is one
  product over all steps; differentiating the scan would add up one product a step.
  Source: torch.nn.LSTM, gates in the order i, f, g, o.

  Args:
    inputs_Tx4DxB: the inputs' part of the gates, with both biases.
    weight_4DxD: from the state before to the gates.
  """
  return lstm_on(_zero_state(inputs_Tx4DxB), inputs_Tx4DxB, weight_4DxD)[1]


def lstm_on(
  state: State, inputs_Tx4DxB: jax.Array, weight_4DxD: jax.Array
) -> tuple[State, jax.Array]:
  """Goes on from a state; returns the last one and the states h, as `lstm` does."""

  def step(state, inputs_4DxB):
    state, _ = _cell(weight_4DxD, state, inputs_4DxB)
    return state, state[0]

  return lax.scan(step, state, inputs_Tx4DxB)


def _forward(inputs_Tx4DxB, weight_4DxD):
  def step(state, inputs_4DxB):
    state, gates = _cell(weight_4DxD, state, inputs_4DxB)
    return state, (*state, gates)

  _, saved = lax.scan(step, _zero_state(inputs_Tx4DxB), inputs_Tx4DxB)
  return saved[0], (saved, weight_4DxD)


def _backward(residuals, dh_TxDxB):
  (h, c, gates), weight_4DxD = residuals
  transposed = weight_4DxD.T

  def step(carry, now):
    dh, dc = carry
    (i, f, g, o), c, c_before, dh_now = now
    dh, tanh_c = dh + dh_now, jnp.tanh(c)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    d_i, d_f = dc * g * i * (1 - i), dc * c_before * f * (1 - f)
    d_g, d_o = dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
    d_gates = jnp.concatenate([d_i, d_f, d_g, d_o]).astype(weight_4DxD.dtype)
    return ((transposed @ d_gates).astype(jnp.float32), dc * f), d_gates

  steps = (gates, c, _delay(c), dh_TxDxB)
  zeros = jnp.zeros_like(c[0])
  _, d_gates = lax.scan(step, (zeros, zeros), steps, reverse=True)
  before = _delay(h).astype(weight_4DxD.dtype)
  d_weight = jnp.einsum("tkb,tdb->kd", d_gates, before)
  return d_gates, d_weight


def _delay(x_TxDxB):
  return jnp.pad(x_TxDxB[:-1], ((1, 0), (0, 0), (0, 0)))


lstm.defvjp(_forward, _backward)


class LstmLayer(nn.Module):
  """One LSTM layer over (T, D, B), with torch's parameters in torch's layout."""

  dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x_TxDxB, state=None):
    """Returns h (T, D, B) from zeros, or (the last state, h) from a state."""
    D = x_TxDxB.shape[1]
    init = torch_uniform(D)
    weight_ih = self.param("weight_ih", init, (4 * D, D)).astype(self.dtype)
    weight_hh = self.param("weight_hh", init, (4 * D, D)).astype(self.dtype)
    bias = self.param("bias_ih", init, (4 * D,)) + self.param("bias_hh", init, (4 * D,))
    inputs = jnp.einsum("kd,tdb->tkb", weight_ih, x_TxDxB.astype(self.dtype))
    inputs = inputs + bias.astype(self.dtype).reshape(1, -1, 1)
    if state is None:
      return lstm(inputs, weight_hh)
    return lstm_on(state, inputs, weight_hh)


class ResidualLstm(nn.Module):
  """LSTM layers and a skip around them, (B, T, D).

  It is causal: padding after the valid frames doesn't reach them, but must be finite
  for their gradients to be. Source: encodec/modules/lstm.py, SLSTM.
  """

  num_layers: int
  dtype: Dtype = jnp.float32

  reach = Reach(before=math.inf)

  def setup(self):
    self.layers = [LstmLayer(self.dtype) for _ in range(self.num_layers)]

  def __call__(self, x_BxTxD, valid_B=None):
    h_TxDxB = x_BxTxD.transpose(1, 2, 0)
    for layer in self.layers:
      h_TxDxB = layer(h_TxDxB)
    return x_BxTxD + h_TxDxB.transpose(2, 0, 1).astype(x_BxTxD.dtype)

  def step(self, x_BxTxD, states=None, valid_B=None):
    """Goes on from the states that the frames before left; see `nn.stepping`."""
    B, _, D = x_BxTxD.shape
    if states is None:
      states = [(jnp.zeros((B, D)), jnp.zeros((B, D)))] * self.num_layers
    h_TxDxB, after = x_BxTxD.transpose(1, 2, 0), []
    for layer, (h_BxD, c_BxD) in zip(self.layers, states, strict=True):
      (h_DxB, c_DxB), h_TxDxB = layer(h_TxDxB, (h_BxD.T, c_BxD.T))
      after.append((h_DxB.T, c_DxB.T))
    return x_BxTxD + h_TxDxB.transpose(2, 0, 1).astype(x_BxTxD.dtype), after
