"""A layer's hidden states of HuBERT, on the codec's frames."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxcodec.semantic.hubert import SAMPLE_RATE, Hubert

# As transformers' feature extractor has it.
_VARIANCE_FLOOR = 1e-7
# Attributes that HuBERT had not from the first, and what it was like without.
_LATER = {"conv_norm": "group", "conv_bias": False, "pre_norm": False}


@flax.struct.dataclass
class HubertFeatures:
  """One hidden state a codec frame.

  Source of the layer: Hsu et al. 2021, whose larger models learn 500 clusters of the
  base model's ninth layer.

  Attributes:
    params: the model's, the only part that jit traces.
    model: HuBERT.
    weights_sha256: `weights.fingerprint` of the parameters, by which a tokeniser knows
      what it was fitted on.
    sample_rate: Hz; HuBERT has 16 kHz only.
    hop: samples a frame; the codec's.
    layer: after how many transformer layers.
  """

  params: Any
  model: Hubert = flax.struct.field(pytree_node=False)
  weights_sha256: str = flax.struct.field(pytree_node=False)
  sample_rate: int = flax.struct.field(pytree_node=False)
  hop: int = flax.struct.field(pytree_node=False)
  layer: int = flax.struct.field(pytree_node=False, default=9)

  def __post_init__(self):
    if self.sample_rate != SAMPLE_RATE:
      raise ValueError(
        f"HuBERT needs audio at {SAMPLE_RATE} Hz, got {self.sample_rate}"
      )
    if not 0 <= self.layer <= self.model.depth:
      raise ValueError(f"layer must be in 0..{self.model.depth}, got {self.layer}")

  @property
  def width(self) -> int:
    """Features a frame."""
    return self.model.width

  @property
  def config(self) -> dict[str, Any]:
    """What decides the features, as plain data."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    model = fields.pop("model")
    del fields["params"]
    sizes = {f.name: getattr(model, f.name) for f in dataclasses.fields(model)}
    for name in ("parent", "name"):
      del sizes[name]
    for name, before in _LATER.items():
      # What tokenisers of that time say of their features stays true.
      if sizes[name] == before:
        del sizes[name]
    return {**fields, "model": sizes}

  def __call__(self, audio_BxN: jax.Array, length_B: jax.Array) -> jax.Array:
    """Features, (B, ceil(N / hop), width) float32.

    Frame t is HuBERT's where the middle of the codec's frame lies, so that for a hop of
    320 it is HuBERT's frame t, of samples 320 t to 320 t + 400. HuBERT's last window
    ends with the utterance: the codec's last one or two frames repeat it. An utterance
    shorter than a window is followed by zeros. Frames past ceil(length / hop) are 0.

    Args:
      audio_BxN: audio at 16 kHz; what lies past a row's length is ignored.
      length_B: valid samples of each row.
    """
    model, frames = self.model, -(-audio_BxN.shape[1] // self.hop)
    missing = max(0, model.window - audio_BxN.shape[1])
    audio_BxN = jnp.pad(normalised(audio_BxN, length_B), ((0, 0), (0, missing)))
    length_or_window_B = jnp.maximum(length_B, model.window)
    variables = {"params": self.params}
    x_BxTxD = model.apply(variables, audio_BxN, length_or_window_B, self.layer)
    at_T = (2 * jnp.arange(frames) + 1) * self.hop // (2 * model.hop)
    last_B = model.num_frames(length_or_window_B) - 1
    at_BxT = jnp.minimum(at_T[None], last_B[:, None])
    x_BxTxD = jnp.take_along_axis(x_BxTxD, at_BxT[:, :, None], axis=1)
    valid_BxT = jnp.arange(frames)[None] < -(-length_B // self.hop)[:, None]
    return jnp.where(valid_BxT[:, :, None], x_BxTxD, 0)


def normalised(audio_BxN: jax.Array, length_B: jax.Array) -> jax.Array:
  """Mean 0 and variance 1 over the valid samples of each row, 0 on the others."""
  valid_BxN = jnp.arange(audio_BxN.shape[1])[None] < length_B[:, None]
  count_Bx1 = jnp.maximum(length_B, 1)[:, None]
  mean_Bx1 = jnp.where(valid_BxN, audio_BxN, 0).sum(1, keepdims=True) / count_Bx1
  centred = jnp.where(valid_BxN, audio_BxN - mean_Bx1, 0)
  variance_Bx1 = (centred * centred).sum(1, keepdims=True) / count_Bx1
  return centred * jax.lax.rsqrt(variance_Bx1 + _VARIANCE_FLOOR)
