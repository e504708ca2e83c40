"""A training step in bfloat16 multiplies matrices in bfloat16, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_configs import OF_EACH_CODEC, tiny

from jaxcodec.build.codec import make_codec_task
from jaxcodec.nn import platform
from jaxcodec.nn.products import einsum_float32
from jaxcodec.pipeline.experiment import plain
from jaxcodec.slm import code_embedding
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.valle import Valle
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.train import flops
from jaxcodec.train.step import phases
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=3, codebook_size=16, hop=320, sample_rate=16_000)
SIZES = dict(width=32, depth=2, heads=2, mlp_width=48, dtype=jnp.bfloat16)
MODELS = {
  "maskgit": MaskGit(SPEC, 8, **SIZES),
  "valle": Valle(SPEC, 8, **SIZES),
  "maskgit, recomputing": MaskGit(SPEC, 8, remat="products", **SIZES),
}


def _batch():
  ids, mask = jnp.zeros((2, 5), jnp.int32), jnp.ones((2, 5), bool)
  return {
    "codes_BxTxK": jnp.zeros((2, 5, SPEC.num_codebooks), jnp.int32),
    "semantic_BxT": ids,
    "mask_BxT": mask,
    "text_BxS": ids,
    "text_mask_BxS": mask,
  }


@pytest.mark.parametrize("name", MODELS)
def test_a_language_models_step_multiplies_nothing_in_float32(name):
  task = SlmTask(MODELS[name], steps=10, warmup_steps=1)
  batch = _batch()
  state = jax.eval_shape(task.init, jax.random.key(0), batch)
  found = list(flops.products(jax.make_jaxpr(task.train_step)(state, batch)))
  assert len(found) >= 3 * 6  # of a layer: forward, and two of each backward
  single = [e for e in found if flops.precision(e) != "half"]
  assert not single, "\n".join(map(str, single))


@pytest.mark.parametrize("path", OF_EACH_CODEC, ids=lambda p: p.stem)
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_a_codecs_step_multiplies_in_float32_only_what_needs_all_bits(path, target):
  """That is spectra of losses and codebooks, which ask for the highest precision."""
  config = plain(tiny(path))
  config["codec_train"] = {**config["codec_train"], "dtype": "bfloat16"}
  with platform.assume(target):
    task = [*phases(make_codec_task(config)).values()][-1]
    batch = {"audio_BxN": jax.ShapeDtypeStruct((2, 1600), jnp.float32)}
    state = jax.eval_shape(task.init, jax.random.key(0), batch)
    program = jax.make_jaxpr(task.train_step)(state, batch)
  found = list(flops.products(program))
  assert {"half", "exact"} == {flops.precision(e) for e in found}, found


def test_the_gradient_of_a_float32_product_is_that_of_its_rounded_cotangent():
  a, b = (jax.random.normal(jax.random.key(i), (8, 8), "bfloat16") for i in (0, 1))

  def grads(product):
    return jax.grad(lambda a, b: jnp.sin(product(a, b)).sum(), (0, 1))(a, b)

  plain = lambda a, b: jnp.einsum("ij,jk->ik", a, b, preferred_element_type="f4")  # noqa: E731
  for got, want in zip(
    grads(lambda a, b: einsum_float32("ij,jk->ik", a, b)), grads(plain), strict=True
  ):
    assert got.dtype == jnp.bfloat16
    got, want = (np.asarray(x, np.float32) for x in (got, want))
    np.testing.assert_allclose(got, want, atol=0.02 * np.abs(want).max())


def test_a_frequent_codes_gradient_is_summed_in_float32():
  codes_BxTxK = jnp.zeros((8, 512, 1), jnp.int32)

  def total(table_KxVxD):
    return code_embedding.embed_sum(table_KxVxD, codes_BxTxK, jnp.bfloat16).sum()

  grad_KxVxD = jax.grad(lambda table: total(table).astype(jnp.float32))(
    jnp.ones((1, 2, 3))
  )
  # bfloat16 counts no further than 256.
  np.testing.assert_array_equal(grad_KxVxD[0], [[4096] * 3, [0] * 3])


def test_a_frequent_symbols_gradient_is_summed_in_float32():
  embed, ids_BxT = (
    code_embedding.Embed(2, 3, dtype="bfloat16"),
    jnp.zeros((8, 512), int),
  )
  variables = embed.init(jax.random.key(0), ids_BxT)
  assert embed.apply(variables, ids_BxT).dtype == jnp.bfloat16
  total = lambda v: embed.apply(v, ids_BxT).sum().astype(jnp.float32)  # noqa: E731
  grad_VxD = jax.grad(total)(variables)["params"]["embedding"]
  np.testing.assert_array_equal(grad_VxD, [[4096] * 3, [0] * 3])
