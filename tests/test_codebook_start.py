"""Language models whose rows of codes begin as the codec's vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.build.codec import make_preset
from jaxcodec.build.slm import fresh_params
from jaxcodec.codecs.code_vectors import code_vectors
from jaxcodec.codecs.shapes import silence
from jaxcodec.slm import codebook_start
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.valle import Valle

WIDTH, CODES = 256, 16
HALF = dict(name="seanet", width=4, strides=(2, 4), lstm_layers=0, dtype="float32")
QUANTIZERS = {
  "ema_rvq": {},
  "factorized_rvq": {"codebook_dim": 4},
  "simvq": {},
}


@pytest.fixture(scope="module", params=QUANTIZERS)
def codec(request):
  quantizer = dict(name=request.param, num_codebooks=3, codebook_size=CODES)
  config = dict(
    sample_rate=800,
    encoder={**HALF, "latent_dim": 64},
    quantizer={**quantizer, **QUANTIZERS[request.param]},
    decoder={**HALF, "strides": (4, 2), "width": 16},
  )
  made = make_preset(config)
  return made, jax.jit(made.init)(jax.random.key(0), silence(made))


def test_vectors_add_up_to_the_latent_of_codes(codec):
  codec, variables = codec
  vector_KxVxC = code_vectors(codec, variables)
  codes_BxTxK = jax.random.randint(jax.random.key(1), (1, 9, 3), 0, CODES)
  latent = codec.apply(
    variables, codes_BxTxK, method=lambda codec, codes: codec.quantizer.decode(codes)
  )
  summed = sum(vector_KxVxC[k][codes_BxTxK[0, :, k]] for k in range(3))
  np.testing.assert_allclose(summed, latent[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["maskgit", "valle", "wide NAR"])
def test_near_codes_begin_near_each_other_and_the_rest_stays(codec, kind):
  codec, variables = codec
  sizes = dict(spec=codec.spec, width=WIDTH, depth=1, heads=1)
  if valle := kind != "maskgit":
    nar_width = 2 * WIDTH if kind == "wide NAR" else None
    model = Valle(num_text=5, nar_width=nar_width, **sizes)
  else:
    model = MaskGit(num_semantic=5, **sizes)
  params = jax.jit(lambda: fresh_params(model, jax.random.key(0)))()
  rng = jax.random.key(2)
  begun = codebook_start.begin(model, params, rng, code_vectors(codec, variables))
  jax.tree.map(lambda a, b: np.testing.assert_equal(a.shape, b.shape), params, begun)
  half, old = (x["nar"] if valle else x for x in (begun, params))
  # The rows of hidden codes aren't of codes.
  np.testing.assert_array_equal(half["code_embed"][:, -1], old["code_embed"][:, -1])
  vectors = code_vectors(codec, variables)
  heads = jnp.swapaxes(half["head"], 1, 2)
  for level in range(3):
    rows = half["code_embed"][level, :CODES]
    assert _correlation(rows, vectors[level]) > 0.8
    assert 0.5 < float(jnp.mean(jnp.sum(rows**2, 1))) < 2
  for head, level in zip(heads, range(3 - len(heads), 3), strict=True):
    assert _correlation(head, vectors[level]) > 0.8
  if valle:
    assert _correlation(begun["ar"]["head"].T[:CODES], vectors[0]) > 0.8


def _correlation(rows, vectors):
  """Of the distances between rows with those between the vectors of the same codes."""
  pairs = np.triu_indices(CODES, 1)
  near = [
    np.linalg.norm(np.asarray(x)[:, None] - np.asarray(x)[None], axis=-1)[pairs]
    for x in (rows, vectors)
  ]
  return np.corrcoef(*near)[0, 1]
