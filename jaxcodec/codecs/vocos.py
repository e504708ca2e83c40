"""Vocos's decoder: ConvNeXt blocks and an inverse STFT.

Source: vocos/models.py, modules.py and heads.py (vocos 0.1.0). Submodules are named
after torch's, so that weights move by name.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxcodec.nn.conv import Conv1d, Dtype, mask_frames, torch_uniform
from jaxcodec.nn.istft import check, istft, istft_reach
from jaxcodec.nn.ops import gelu, sin_cos
from jaxcodec.nn.products import einsum_float32
from jaxcodec.nn.reach import Reach, reach_of
from jaxcodec.nn.remat import remat

_EPSILON = 1e-6
_MAX_LOG_MAGNITUDE = math.log(1e2)
# The original truncates it, a hundred standard deviations away.
_INIT = nn.initializers.normal(0.02)


class LayerNorm(nn.Module):
  """Layer norm over channels in float32, with gains and shifts for each condition.

  Attributes:
    conditions: number of conditions; None for an unconditioned norm.
  """

  conditions: int | None = None

  @nn.compact
  def __call__(self, x_BxTxD, row=None):
    """Normalises (B, T, D); `row` is the index of the condition, if there are any."""
    D = x_BxTxD.shape[-1]
    if self.conditions is None:
      scale = self.param("scale", nn.initializers.ones, (D,))
      shift = self.param("bias", nn.initializers.zeros, (D,))
    else:
      shape = (self.conditions, D)
      scale = self.param("scales", nn.initializers.ones, shape)[row]
      shift = self.param("shifts", nn.initializers.zeros, shape)[row]
    x_BxTxD = x_BxTxD.astype(jnp.float32)
    centred = x_BxTxD - x_BxTxD.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    y_BxTxD = centred * lax.rsqrt(variance + _EPSILON)
    return y_BxTxD * scale.reshape(1, 1, D) + shift.reshape(1, 1, D)


class DepthwiseConv(nn.Module):
  """Centred convolution of every channel by itself, float32.

  Computed as a sum of shifted products, which compilers fuse to one loop.
  """

  kernel_size: int = 7

  @nn.compact
  def __call__(self, x_BxTxD, valid_B=None):
    T, D = x_BxTxD.shape[1:]
    kernel = self.param("kernel", _INIT, (self.kernel_size, 1, D))
    bias = self.param("bias", nn.initializers.zeros, (D,))
    pad = self.kernel_size // 2
    x_BxTxD = mask_frames(x_BxTxD, valid_B)
    x_BxTxD = jnp.pad(x_BxTxD, ((0, 0), (pad, pad), (0, 0)))
    y_BxTxD = bias.reshape(1, 1, D)
    for k in range(self.kernel_size):
      y_BxTxD = y_BxTxD + x_BxTxD[:, k : k + T] * kernel[k : k + 1]
    return y_BxTxD

  @property
  def reach(self) -> Reach:
    return Reach.centred(self.kernel_size)


class Linear(nn.Module):
  """Dense layer whose products are in `dtype` and whose sums are float32."""

  features: int
  dtype: Dtype
  init: nn.initializers.Initializer
  bias_init: nn.initializers.Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x_BxTxD):
    shape = (x_BxTxD.shape[-1], self.features)
    kernel = self.param("kernel", self.init, shape).astype(self.dtype)
    bias = self.param("bias", self.bias_init, shape[1:])
    x_BxTxD = x_BxTxD.astype(self.dtype)
    y = einsum_float32("btd,df->btf", x_BxTxD, kernel)
    return y + bias.reshape(1, 1, -1)


class ConvNeXtBlock(nn.Module):
  """Depthwise convolution, norm, two-layer perceptron, and a scaled skip."""

  mlp_width: int
  layer_scale: float
  conditions: int | None
  dtype: Dtype

  @nn.compact
  def __call__(self, x_BxTxD, valid_B, row):
    D = x_BxTxD.shape[-1]
    gamma = self.param("gamma", nn.initializers.constant(self.layer_scale), (D,))
    y = DepthwiseConv(name="dwconv")(x_BxTxD, valid_B)
    y = LayerNorm(self.conditions, name="norm")(y, row)
    y = gelu(Linear(self.mlp_width, self.dtype, _INIT, name="pwconv1")(y))
    y = Linear(D, self.dtype, _INIT, name="pwconv2")(y)
    return x_BxTxD + gamma.reshape(1, 1, D) * y

  reach = DepthwiseConv(parent=None).reach  # the others see a frame at a time


class Backbone(nn.Module):
  """Embedding convolution, norm, ConvNeXt blocks and a last norm, (B, T, D).

  Attributes:
    width, mlp_width, depth, dtype, remat: see `VocosDecoder`.
    conditions: see `LayerNorm`.
    embed_size: frames that the embedding convolution sees.
  """

  width: int
  mlp_width: int
  depth: int
  conditions: int | None
  dtype: Dtype
  remat: bool
  embed_size: int = 7

  def setup(self):
    self.embed = Conv1d(
      self.width,
      self.embed_size,
      dtype=self.dtype,
      weight_norm=False,
      kernel_init=_INIT,
    )
    self.norm = LayerNorm(self.conditions)
    settings = self.mlp_width, 1 / self.depth, self.conditions, self.dtype
    kind = remat(ConvNeXtBlock, self.remat)
    self.convnext = [kind(*settings) for _ in range(self.depth)]
    self.final_layer_norm = LayerNorm()

  def __call__(self, z_BxTxD, valid_B, row=None):
    x_BxTxD = self.norm(self.embed(z_BxTxD, valid_B), row)
    for block in self.convnext:
      x_BxTxD = block(x_BxTxD, valid_B, row)
    return self.final_layer_norm(x_BxTxD)

  @property
  def reach(self) -> Reach:
    return reach_of([self.embed, *self.convnext])


class ISTFTHead(nn.Module):
  """Maps frames to log magnitudes and phases, and these to audio (B, N)."""

  n_fft: int
  hop: int
  padding: str
  dtype: Dtype

  @nn.compact
  def __call__(self, x_BxTxD, valid_B):
    init = torch_uniform(x_BxTxD.shape[-1])
    out = Linear(self.n_fft + 2, self.dtype, init, init, name="out")(x_BxTxD)
    log_magnitude, phase = jnp.split(out, 2, axis=-1)
    magnitude = jnp.exp(jnp.minimum(log_magnitude, _MAX_LOG_MAGNITUDE))
    sin, cos = sin_cos(phase)
    settings = dict(n_fft=self.n_fft, hop=self.hop, padding=self.padding)
    return istft(magnitude * cos, magnitude * sin, valid_B=valid_B, **settings)

  @property
  def reach(self) -> Reach:
    return istft_reach(self.n_fft, self.hop, self.padding)


class VocosDecoder(nn.Module):
  """Latent (B, T, D) to audio (B, T * hop, 1).

  Attributes:
    width: channels of the ConvNeXt blocks.
    mlp_width: channels inside a block.
    depth: number of blocks.
    n_fft: samples, of the inverse STFT.
    hop: samples a frame.
    padding: "same", or "center" for (T - 1) * hop samples; see `istft`.
    bandwidth_codebooks: numbers of codebooks, ascending, each a condition of the norms;
      norms are unconditioned if None.
    dtype: of the matrix products; norms, skips and the STFT are float32.
    remat: whether to rematerialise each block; see `nn.remat`.
  """

  width: int = 512
  mlp_width: int = 1536
  depth: int = 8
  n_fft: int = 1024
  hop: int = 256
  padding: str = "same"
  bandwidth_codebooks: Sequence[int] | None = None
  dtype: Dtype = jnp.float32
  remat: bool = False

  channels = 1

  def __post_init__(self):
    check(self.n_fft, self.hop, self.padding)
    for name in ("width", "mlp_width", "depth"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
    books = self.bandwidth_codebooks
    if books is not None and (not books or list(books) != sorted(set(books))):
      raise ValueError(f"bandwidth_codebooks must be ascending, got {books}")
    super().__post_init__()

  def setup(self):
    books = self.bandwidth_codebooks
    conditions = None if books is None else len(books)
    sizes = self.width, self.mlp_width, self.depth
    self.backbone = Backbone(*sizes, conditions, self.dtype, self.remat)
    self.head = ISTFTHead(self.n_fft, self.hop, self.padding, self.dtype)

  def __call__(self, z_BxTxD, valid_B=None, *, num_codebooks=None, train=False):
    """Returns audio (B, T * hop, 1); valid_B counts frames.

    A conditioned decoder takes `num_codebooks` None for the largest that it knows.

    Raises:
      ValueError: the decoder isn't conditioned on so many codebooks.
    """
    row = self._row(num_codebooks)
    x_BxTxD = self.backbone(z_BxTxD.astype(jnp.float32), valid_B, row)
    return self.head(x_BxTxD, valid_B)[..., None]

  @property
  def reach(self) -> Reach:
    return reach_of([self.backbone, self.head])

  def _row(self, num_codebooks):
    """Returns the index of the norms' condition for so many codebooks."""
    books = self.bandwidth_codebooks
    if books is None:
      return None
    if num_codebooks is None:
      return len(books) - 1
    if num_codebooks not in books:
      raise ValueError(
        f"the decoder is conditioned on {tuple(books)} codebooks, got {num_codebooks}"
      )
    return tuple(books).index(num_codebooks)
