"""A codec of magnitudes: it codes no phases, and its decoder finds some that fit.

Encoder and decoder are each a linear map and a ConvNeXt network that adds to it. The
networks start as zero. The maps alone make a codec once decoder and codebooks are
fitted to the features of audio.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.codecs.magnitude_features import MagnitudeFeatures
from jaxcodec.codecs.vocos import Backbone, Linear
from jaxcodec.codecs.windows import Windows, longest
from jaxcodec.nn import griffin_lim
from jaxcodec.nn.conv import Conv1d, Dtype, mask_frames
from jaxcodec.nn.reach import Reach, reach_of

_ZEROS = nn.initializers.zeros
_SCALE = 3.0  # gives the networks inputs of about unit variance
_TAPS = 3  # frames that enter the decoder's linear map and the networks' first layers


def _check(module: nn.Module) -> None:
  """Raises ValueError for sizes that encoder or decoder cannot have."""
  for name in ("width", "mlp_width", "depth", "sub_hop"):
    if getattr(module, name) < 1:
      raise ValueError(f"{name} must be positive, got {getattr(module, name)}")
  if module.hop < 1 or module.hop % module.sub_hop:
    raise ValueError(
      f"hop must be a multiple of sub_hop = {module.sub_hop}, got {module.hop}"
    )


class Correction(nn.Module):
  """ConvNeXt network whose output starts as zero, (B, T, D) to (B, T, features)."""

  features: int
  width: int
  mlp_width: int
  depth: int
  dtype: Dtype
  remat: bool

  def setup(self):
    sizes = self.width, self.mlp_width, self.depth
    self.backbone = Backbone(*sizes, None, self.dtype, self.remat, _TAPS)
    self.out = Linear(self.features, self.dtype, _ZEROS)

  @property
  def reach(self) -> Reach:
    return self.backbone.reach

  def __call__(self, x_BxTxD, valid_B=None):
    return self.out(self.backbone(_SCALE * x_BxTxD, valid_B))


class MagnitudeEncoder(nn.Module):
  """Audio (B, N, 1) to the bands of its magnitudes, corrected, (B, N // hop, D).

  A latent frame holds hop // sub_hop frames of the STFT, as pitch needs steps of about
  10 ms and tokens should be fewer.

  Attributes:
    width: channels of the network.
    mlp_width: channels inside one of its blocks.
    depth: number of blocks.
    n_fft, sub_hop, power, band_ratio: see `MagnitudeFeatures`.
    hop: samples a latent frame, a multiple of `sub_hop`.
    dtype: of the network's matrix products; all else is float32.
    remat: whether to rematerialise each block; see `nn.remat`.
  """

  width: int = 192
  mlp_width: int = 576
  depth: int = 3
  n_fft: int = 640
  hop: int = 320
  sub_hop: int = 160
  power: float = 0.3
  band_ratio: float = 0.0388
  dtype: Dtype = jnp.float32
  remat: bool = False

  channels = 1

  def __post_init__(self):
    _check(self)
    _ = self.features  # raises what is wrong with the STFT
    super().__post_init__()

  @property
  def features(self) -> MagnitudeFeatures:
    return MagnitudeFeatures(self.n_fft, self.sub_hop, self.power, self.band_ratio)

  @property
  def output_dim(self) -> int:
    return self.hop // self.sub_hop * self.features.num_bands

  def setup(self):
    D = self.output_dim
    self.mean = self.param("mean", _ZEROS, (D,))
    sizes = self.width, self.mlp_width, self.depth
    self.correction = Correction(D, *sizes, self.dtype, self.remat)

  def __call__(self, x_BxNxC, valid_B=None, *, train=False):
    """Returns latents (B, N // hop, D); valid_B counts samples."""
    limit = longest(2 * self.n_fft // self.sub_hop, train)
    cut = Windows(limit, self.reach)
    return cut(MagnitudeEncoder._encode, self, x_BxNxC, valid_B)

  @property
  def reach(self) -> Reach:
    steps = Reach(down=self.hop // self.sub_hop)
    return reach_of([self.features, steps, self.correction])

  def _encode(self, x_BxNxC, valid_B):
    u_BxTxD = self.bands(x_BxNxC, valid_B) - self.mean.reshape(1, 1, -1)
    frames_B = None if valid_B is None else -(-valid_B // self.hop)
    return u_BxTxD + self.correction(u_BxTxD, frames_B)

  def bands(self, x_BxNxC, valid_B=None) -> jax.Array:
    """Returns the latents without mean and correction: compressed bands."""
    x_BxN = mask_frames(x_BxNxC.astype(jnp.float32), valid_B)[..., 0]
    u_BxTxM = self.features.bands(self.features.magnitudes(x_BxN))
    return u_BxTxM.reshape(x_BxN.shape[0], -1, self.output_dim)


class MagnitudeDecoder(nn.Module):
  """Latents (B, T, D) to magnitudes, and these to audio (B, T * hop, 1).

  Attributes:
    width, mlp_width, depth, n_fft, hop, sub_hop, power, dtype, remat: as of
      `MagnitudeEncoder`, of the decoder's own network.
    iterations, momentum: of the search for phases; see `griffin_lim`.
  """

  width: int = 256
  mlp_width: int = 768
  depth: int = 4
  n_fft: int = 640
  hop: int = 320
  sub_hop: int = 160
  power: float = 0.3
  iterations: int = 32
  momentum: float = 0.99
  dtype: Dtype = jnp.float32
  remat: bool = False

  channels, placed = 1, True

  def __post_init__(self):
    _check(self)
    _ = self.features
    griffin_lim.check(self.n_fft, self.sub_hop, self.iterations, self.momentum)
    super().__post_init__()

  @property
  def features(self) -> MagnitudeFeatures:
    return MagnitudeFeatures(self.n_fft, self.sub_hop, self.power)

  def setup(self):
    D = self.hop // self.sub_hop * self.features.num_bins
    init = nn.initializers.normal(0.02)
    self.linear = Conv1d(D, _TAPS, weight_norm=False, kernel_init=init)
    sizes = self.width, self.mlp_width, self.depth
    self.correction = Correction(D, *sizes, self.dtype, self.remat)

  def __call__(
    self, z_BxTxD, valid_B=None, *, num_codebooks=None, train=False, first=0
  ):
    """Returns audio (B, T * hop, 1) float32; valid_B counts frames.

    The phases that the search starts from depend on `first`, the place of the first
    frame in a clip of which these are a part.
    """

    def decode(module, z_BxTxD, valid_B, place=0):
      return module._decode(z_BxTxD, valid_B, first + place)

    limit = longest(2 * self.hop // self.sub_hop * self.n_fft, train)
    cut = Windows(limit, self.reach, placed=True)
    return cut(decode, self, z_BxTxD, valid_B)

  @property
  def reach(self) -> Reach:
    steps = Reach(up=self.hop // self.sub_hop)
    around = griffin_lim.reach(self.n_fft, self.sub_hop, self.iterations) * self.sub_hop
    search = Reach(up=self.sub_hop, before=around, after=around)
    return reach_of([self.linear.reach.beside(self.correction.reach), steps, search])

  def _decode(self, z_BxTxD, valid_B, first):
    steps = self.hop // self.sub_hop
    magnitude_BxTxF = self.features.expand(self.compressed(z_BxTxD, valid_B))
    steps_B = None if valid_B is None else valid_B * steps
    audio_BxN = griffin_lim.griffin_lim(
      magnitude_BxTxF,
      n_fft=self.n_fft,
      hop=self.sub_hop,
      iterations=self.iterations,
      momentum=self.momentum,
      first=first * steps,
      valid_B=steps_B,
    )
    return audio_BxN[..., None]

  def compressed(self, z_BxTxD, valid_B=None) -> jax.Array:
    """Returns compressed magnitudes (B, T * hop // sub_hop, F), for losses.

    They may be negative, which stands for 0; `features.expand` undoes compression.
    """
    z_BxTxD = z_BxTxD.astype(jnp.float32)
    with jax.default_matmul_precision("highest"):
      y_BxTxD = self.linear(z_BxTxD, valid_B)
    y_BxTxD = y_BxTxD + self.correction(z_BxTxD, valid_B)
    return y_BxTxD.reshape(z_BxTxD.shape[0], -1, self.features.num_bins)
