"""WavLM with its speaker head against transformers, on small random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import originals
import pytest

from jaxcodec.porting import wavlm
from jaxcodec.semantic.wavlm import distance_buckets

torch = pytest.importorskip("torch")
transformers = originals.transformers()
pytestmark = pytest.mark.parity

SIZES = dict(
  hidden_size=32,
  num_hidden_layers=3,
  num_attention_heads=4,
  intermediate_size=48,
  conv_dim=(16,) * 7,
  num_conv_pos_embedding_groups=4,
  num_buckets=24,
  max_bucket_distance=40,
  tdnn_dim=(24, 24, 24, 24, 40),
  xvector_output_dim=20,
)
LAYOUTS = {
  "base-sv": dict(use_weighted_layer_sum=True),
  "large": dict(feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True),
}
LENGTHS = (20_001, 8_000)


@pytest.fixture(scope="module", params=LAYOUTS.values(), ids=LAYOUTS)
def models(request, tmp_path_factory):
  """Returns transformers' model, and our states and vectors from its saved files."""
  torch.manual_seed(0)
  config = transformers.WavLMConfig(**SIZES, **request.param)
  theirs = originals.shaken(transformers.WavLMForXVector(config))
  folder = tmp_path_factory.mktemp("wavlm")
  theirs.save_pretrained(folder)
  found = wavlm.load_xvector(folder)

  @jax.jit
  def ours(audio_BxN, length_B):
    states = found.model.apply(
      {"params": found.params}, audio_BxN, length_B, method="states"
    )
    valid_B = found.model.num_frames(length_B)
    return states, found.head.apply({"params": found.head_params}, states, valid_B)

  return theirs, ours


def _close(got, expected):
  assert got.shape == expected.shape and expected.std() > 0.1
  np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)


def test_same_states_and_vectors_whatever_the_padding(models):
  """Compares each item of a padded batch with transformers' result for it alone."""
  theirs, ours = models
  audio_BxN = np.full((len(LENGTHS), max(LENGTHS) + 500), np.nan, np.float32)
  for row, N in enumerate(LENGTHS):
    audio_BxN[row, :N] = originals.noise(N, seed=row)
  states, vector_BxD = ours(audio_BxN, jnp.asarray(LENGTHS))
  for row, N in enumerate(LENGTHS):
    alone = torch.tensor(audio_BxN[row : row + 1, :N])
    with torch.no_grad():
      out, vector = theirs.wavlm(alone, output_hidden_states=True), theirs(alone)
    # transformers 5 keeps large models' last state before the norm that follows it.
    expected = (*out.hidden_states[:-1], out.last_hidden_state)
    for got, want in zip(states, expected, strict=True):
      _close(got[row : row + 1, : want.shape[1]], want.numpy())
    _close(vector_BxD[row : row + 1], vector.embeddings.numpy())


def test_what_versions_of_transformers_differ_on_is_refused(tmp_path):
  config = transformers.WavLMConfig(**SIZES, **LAYOUTS["large"])
  config.use_weighted_layer_sum = True
  transformers.WavLMForXVector(config).save_pretrained(tmp_path)
  with pytest.raises(ValueError, match=f"{tmp_path}: use_weighted_layer_sum with"):
    wavlm.load_xvector(tmp_path)


@pytest.mark.parametrize("buckets,furthest", [(320, 800), (24, 40)])
def test_same_buckets_of_distances(buckets, furthest):
  attention = transformers.models.wavlm.modeling_wavlm.WavLMAttention(
    8, 2, num_buckets=buckets, max_distance=furthest
  )
  at = torch.arange(1000)
  expected = attention._relative_positions_bucket(at[None] - at[:, None])
  np.testing.assert_array_equal(distance_buckets(1000, buckets, furthest), expected)
