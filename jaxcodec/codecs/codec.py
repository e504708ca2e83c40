"""The codec: an encoder, a quantiser and a decoder of one hop and one latent width."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcodec.codecs.segments import (
  Segments,
  cut_frames,
  join_frames,
  merge_stacks,
  normalize_segments,
)
from jaxcodec.types import Quantized, Tokens, TokenSpec


class Codec(nn.Module):
  """Encoder x quantiser x decoder.

  Attributes:
    encoder: maps (x_BxNxC, valid_B, train) to z_BxTxD with `hop` samples a frame, N a
      multiple of it; `valid_B` counts samples, and what lies beyond has no influence
      on the first ceil(valid / hop) frames.
    quantizer: a `quantizers.quantizer.Quantizer`.
    decoder: maps (z_BxTxD, valid_B, num_codebooks, train) to (B, T * hop, C); `valid_B`
      counts frames, and those beyond have no influence on the samples of the others.
      For streams, encoder and decoder say how far they see (`reach`, see `nn.reach`),
      and causal ones have a `step` (`nn.stepping`).
    sample_rate: Hz.
    segments: how to cut audio into segments, which are coded independently and whose
      frames follow each other; None codes all of it at once.
    normalize: divide each segment by its level before coding, and multiply after.
  """

  encoder: nn.Module
  quantizer: nn.Module
  decoder: nn.Module
  sample_rate: int
  segments: Segments | None = None
  normalize: bool = False

  @property
  def spec(self) -> TokenSpec:
    return TokenSpec(
      num_codebooks=self.quantizer.num_codebooks,
      codebook_size=self.quantizer.codebook_size,
      hop=self.encoder.hop,
      sample_rate=self.sample_rate,
    )

  @property
  def num_channels(self) -> int:
    """Channels of the audio."""
    return self.encoder.channels

  def num_frames(self, num_samples: int) -> int:
    """Returns the frames T of so many samples, of all segments together."""
    hop, before = self.encoder.hop, 0
    if self.segments is not None:
      before = self.segments.count(num_samples) - 1
      num_samples -= before * self.segments.stride
      before *= -(-self.segments.length // hop)
    return before + -(-num_samples // hop)

  def num_segments(self, num_frames: int) -> int:
    """Returns how many segments have so many frames."""
    if self.segments is None:
      return 1
    return -(-num_frames // -(-self.segments.length // self.encoder.hop))

  def num_samples(self, num_frames: int) -> int:
    """Returns how many samples so many frames are decoded to."""
    overlaps = 0
    if self.segments is not None:
      length = -(-self.segments.length // self.encoder.hop) * self.encoder.hop
      overlaps = (self.num_segments(num_frames) - 1) * (length - self.segments.stride)
    return num_frames * self.encoder.hop - overlaps

  def __call__(
    self,
    x_BxNxC,
    *,
    num_codebooks=None,
    train=False,
    frozen=(),
    semantic_BxTxS=None,
  ) -> tuple[jax.Array, Quantized]:
    """Returns the audio's reconstruction (B, N, C) and the quantiser's result.

    In training, parts that are named in `frozen` run as they do outside of it: a
    frozen quantiser drops no codebooks and updates none. A quantiser that learns from
    semantic features of the frames is given `semantic_BxTxS`.
    """
    trained = {part: train and part not in frozen for part in ("encoder", "quantizer")}
    z_BxTxD, mask_BxT, gain_BxS = self._analyze(x_BxNxC, train=trained["encoder"])
    taught = {} if semantic_BxTxS is None else {"semantic_BxTxS": semantic_BxTxS}
    quantized = self.quantizer(
      z_BxTxD, num_codebooks=num_codebooks, train=trained["quantizer"], **taught
    )
    y_BxNxC = self._synthesize(
      quantized.z_BxTxD, mask_BxT, gain_BxS, num_codebooks=num_codebooks, train=train
    )
    return y_BxNxC[:, : x_BxNxC.shape[1]], quantized

  def start(self, x_BxNxC, frozen=()) -> None:
    """Starts the quantiser's codebooks on audio; see `Quantizer`."""
    self.quantizer.start(self._analyze(x_BxNxC, train="encoder" not in frozen)[0])

  def encode(self, x_BxNxC, length_B=None, *, num_codebooks=None) -> Tokens:
    """Encodes audio.

    Args:
      x_BxNxC: float audio in [-1, 1] at `sample_rate`, any N.
      length_B: valid samples of each item, N if None. What lies beyond has no
        influence: the codes are those of the item alone.
      num_codebooks: the first so many codebooks only.

    Returns:
      Tokens with T = num_frames(N) frames. The valid ones of an item are among its
      first num_frames(length); without segments they are all of these.
    """
    z_BxTxD, mask_BxT, gain_BxS = self._analyze(x_BxNxC, length_B)
    codes_BxTxK = self.quantizer.encode(z_BxTxD, num_codebooks=num_codebooks)
    if mask_BxT is None:
      return Tokens(codes_BxTxK, jnp.ones(z_BxTxD.shape[:2], bool), gain_BxS)
    return Tokens(jnp.where(mask_BxT[..., None], codes_BxTxK, 0), mask_BxT, gain_BxS)

  def decode(self, tokens: Tokens) -> jax.Array:
    """Decodes to audio (B, N, C); frames that aren't valid are silence.

    N is T * hop, less the overlaps of segments; see `num_samples`.
    """
    z_BxTxD = self.quantizer.decode(tokens.codes_BxTxK)
    return self._synthesize(
      z_BxTxD,
      tokens.mask_BxT,
      tokens.gain_BxS,
      num_codebooks=tokens.codes_BxTxK.shape[-1],
    )

  def _analyze(self, x_BxNxC, length_B=None, *, train=False):
    """Returns the latent (B, T, D), its mask (B, T) or None, and gains (B, S)."""
    N = x_BxNxC.shape[1]
    stacks = (self.segments or Segments(N, N)).cut(x_BxNxC, length_B)
    each = [self._analyze_stack(*stack, train) for stack in stacks]
    z_stacks, masks, gains = zip(*each, strict=True)
    all_valid = all(valid_BxS is None for _, valid_BxS in stacks)
    mask_BxT = None if all_valid else join_frames(masks, self.num_frames(N))
    gain_BxS = jnp.concatenate(gains, 1) if self.normalize else None
    return join_frames(z_stacks, self.num_frames(N)), mask_BxT, gain_BxS

  def _analyze_stack(self, x_BxSxLxC, valid_BxS, train):
    """The same for segments of one length: (B, S, F, D), (B, S, F) and (B, S)."""
    gain_BxS = None
    if self.normalize:
      x_BxSxLxC, gain_BxS = normalize_segments(x_BxSxLxC, valid_BxS)
    B, S, L, C = x_BxSxLxC.shape
    missing = -L % self.encoder.hop
    if valid_BxS is None and missing:
      valid_BxS = jnp.full((B, S), L, jnp.int32)
    x = jnp.pad(x_BxSxLxC, ((0, 0), (0, 0), (0, missing), (0, 0)))
    x = x.reshape(B * S, L + missing, C)
    z = self.encoder(x, _flat(valid_BxS), train=train)
    z_BxSxFxD = z.reshape(B, S, *z.shape[1:])
    if valid_BxS is None:
      return z_BxSxFxD, jnp.ones(z_BxSxFxD.shape[:3], bool), gain_BxS
    frames_BxS = -(-valid_BxS // self.encoder.hop)
    at_F = jnp.arange(z.shape[1]).reshape(1, 1, -1)
    return z_BxSxFxD, at_F < frames_BxS[..., None], gain_BxS

  def _synthesize(self, z_BxTxD, mask_BxT, gain_BxS, **options):
    """Returns the audio of a latent; all frames are valid if `mask_BxT` is None."""
    hop, T = self.decoder.hop, z_BxTxD.shape[1]
    segments = self.segments or Segments(T * hop, T * hop)
    frames = min(T, -(-segments.length // hop))
    if mask_BxT is None and frames < T:
      mask_BxT = jnp.ones(z_BxTxD.shape[:2], bool)
    z_stacks, valid = cut_frames(z_BxTxD, frames), [None]
    if mask_BxT is not None:
      valid = [mask.sum(-1) for mask in cut_frames(mask_BxT, frames)]
    each = map(functools.partial(self._synthesize_stack, **options), z_stacks, valid)
    y_BxSxLxC = merge_stacks(list(each))
    if gain_BxS is not None:
      y_BxSxLxC = y_BxSxLxC * gain_BxS[..., None, None]
    if mask_BxT is None:
      return y_BxSxLxC[:, 0]
    y_BxNxC = segments.join(y_BxSxLxC, jnp.concatenate(valid, 1) * hop)
    return y_BxNxC[:, : self.num_samples(T)]

  def _synthesize_stack(self, z_BxSxFxD, valid_BxS, **options):
    """Returns the audio (B, S, L, C) of segments of one length."""
    B, S, *rest = z_BxSxFxD.shape
    y = self.decoder(z_BxSxFxD.reshape(B * S, *rest), _flat(valid_BxS), **options)
    return y.reshape(B, S, *y.shape[1:])


def _flat(valid_BxS):
  return None if valid_BxS is None else valid_BxS.reshape(-1)
