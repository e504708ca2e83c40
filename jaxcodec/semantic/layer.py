"""The transformer layer of HuBERT and WavLM."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.nn.attention import attend
from jaxcodec.nn.ops import gelu


class Layer(nn.Module):
  """Attention and a feed-forward network, each on a residual path with a norm.

  Attributes:
    heads: of the attention.
    mlp_width: of the feed-forward network.
    epsilon: of the norms.
    pre_norm: whether norms come before attention and network, or after the sums.
  """

  heads: int
  mlp_width: int
  epsilon: float
  pre_norm: bool = False

  @nn.compact
  def __call__(self, x_BxTxD, visible_BxTxS, bias_HxTxS=None):
    """Returns the frames after this layer, (B, T, D).

    Args:
      x_BxTxD: frames.
      visible_BxTxS: which frames each one sees.
      bias_HxTxS: added to the scores, times each query's gate; None adds nothing.
    """
    norm = layer_norm(self.epsilon, "layer_norm")
    final_norm = layer_norm(self.epsilon, "final_layer_norm")
    if self.pre_norm:
      x_BxTxD = x_BxTxD + self._attention(norm(x_BxTxD), visible_BxTxS, bias_HxTxS)
      return x_BxTxD + self._network(final_norm(x_BxTxD))
    x_BxTxD = norm(x_BxTxD + self._attention(x_BxTxD, visible_BxTxS, bias_HxTxS))
    return final_norm(x_BxTxD + self._network(x_BxTxD))

  def _attention(self, x_BxTxD, visible_BxTxS, bias_HxTxS):
    B, T, D = x_BxTxD.shape

    def heads(name):
      y_BxTxD = nn.Dense(D, name=name)(x_BxTxD)
      return y_BxTxD.reshape(B, T, self.heads, -1).swapaxes(1, 2)

    q, k, v = map(heads, ("q_proj", "k_proj", "v_proj"))
    bias_BxHxTxS = None
    if bias_HxTxS is not None:
      bias_BxHxTxS = self._gate(x_BxTxD) * bias_HxTxS[None]
    y_BxHxTxD = attend(q, k, v, visible_BxTxS, bias_BxHxTxS)
    return nn.Dense(D, name="out_proj")(y_BxHxTxD.swapaxes(1, 2).reshape(B, T, D))

  def _gate(self, x_BxTxD):
    """Returns the factor of the bias for each head and query, (B, H, T, 1).

    Source: Chen et al. 2022 (WavLM, arXiv 2110.13900), section III-B.
    """
    B, T, _ = x_BxTxD.shape
    x_BxTxHxD = x_BxTxD.reshape(B, T, self.heads, -1)
    y_BxTxHx8 = nn.Dense(8, name="gru_rel_pos_linear")(x_BxTxHxD)
    y_BxTxHx2 = y_BxTxHx8.reshape(B, T, self.heads, 2, 4).sum(-1)
    gates_BxHxTx2 = jax.nn.sigmoid(y_BxTxHx2).swapaxes(1, 2)
    update_BxHxTx1, reset_BxHxTx1 = jnp.split(gates_BxHxTx2, 2, axis=-1)
    scale_1xHx1x1 = self.param(
      "gru_rel_pos_const", nn.initializers.ones, (1, self.heads, 1, 1)
    )
    return update_BxHxTx1 * (reset_BxHxTx1 * scale_1xHx1x1 - 1) + 2

  def _network(self, x_BxTxD):
    y_BxTxF = gelu(nn.Dense(self.mlp_width, name="intermediate_dense")(x_BxTxD))
    return nn.Dense(x_BxTxD.shape[-1], name="output_dense")(y_BxTxF)


def layer_norm(epsilon: float, name: str) -> nn.LayerNorm:
  """Returns a layer norm like torch's."""
  # The fast variance loses precision, as a difference of large numbers.
  return nn.LayerNorm(epsilon, use_fast_variance=False, name=name)
