"""HuBERT against transformers, on small random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import originals
import pytest

from jaxcodec.porting import hubert, weight_norm_names
from jaxcodec.porting.table import to_torch

torch = pytest.importorskip("torch")
transformers = originals.transformers()
pytestmark = pytest.mark.parity

LENGTHS = (400, 1003, 9607)
LAYERS = (0, 1, 2)
SIZES = dict(
  hidden_size=32,
  num_hidden_layers=2,
  num_attention_heads=4,
  intermediate_size=48,
  conv_dim=(16,) * 7,
  num_conv_pos_embedding_groups=4,
)
LARGE = dict(feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)


@pytest.fixture(scope="module", params=[{}, LARGE], ids=["base", "large"])
def models(request, tmp_path_factory):
  """Returns transformers' model, ours from its files, and our states by layer."""
  config = transformers.HubertConfig(**SIZES, **request.param)
  torch.manual_seed(0)
  theirs = originals.shaken(transformers.HubertModel(config))
  folder = tmp_path_factory.mktemp("hubert")
  theirs.save_pretrained(folder)
  model, params = hubert.load(folder)

  @jax.jit
  def ours(audio_BxN, length_B=None):
    variables = {"params": params}
    return [model.apply(variables, audio_BxN, length_B, layer) for layer in LAYERS]

  return theirs, model, params, ours


def _expected(theirs, audio_BxN, **more):
  with torch.no_grad():
    out = theirs(torch.tensor(audio_BxN), output_hidden_states=True, **more)
  assert len(out.hidden_states) == 3
  # transformers 5 keeps large models' last state before the norm that follows it.
  return [x.numpy() for x in (*out.hidden_states[:-1], out.last_hidden_state)]


def _close(got, expected):
  assert got.shape == expected.shape and expected.std() > 0.1
  np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("N", LENGTHS[::2])
def test_same_hidden_states(models, N):
  theirs, _, _, ours = models
  audio_BxN = originals.noise(2, N)
  for got, expected in zip(ours(audio_BxN), _expected(theirs, audio_BxN), strict=True):
    _close(got, expected)


def test_same_hidden_states_with_masks(models):
  """Compares each item of a padded batch with transformers' result for it alone."""
  theirs, _, _, ours = models
  audio_BxN = np.full((len(LENGTHS), max(LENGTHS) + 500), np.nan, np.float32)
  for row, N in enumerate(LENGTHS):
    audio_BxN[row, :N] = originals.noise(N, seed=row)
  batch = ours(audio_BxN, jnp.asarray(LENGTHS))
  for row, N in enumerate(LENGTHS):
    alone, mask = audio_BxN[row : row + 1, :N], torch.ones(1, N, dtype=torch.long)
    expected = _expected(theirs, alone)
    masked = _expected(theirs, alone, attention_mask=mask)
    for got, one, other in zip(batch, expected, masked, strict=True):
      _close(got[row : row + 1, : one.shape[1]], one)
      _close(got[row : row + 1, : one.shape[1]], other)
    assert all(np.isfinite(states).all() for states in batch)


def test_weights_go_back_as_they_came(models):
  theirs, model, params, _ = models
  state = to_torch({"params": params}, hubert.select_rules(model))
  expected = originals.state(theirs)
  del expected["masked_spec_embed"]
  names = {
    weight_norm_names.to_weight_g(name): array for name, array in expected.items()
  }
  assert state.keys() == names.keys()
  for name, array in state.items():
    np.testing.assert_array_equal(array, names[name], err_msg=name)
