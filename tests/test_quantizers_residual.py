"""All forms of the residual search give the codes of numpy's, also where some tie."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxcodec.nn import platform
from jaxcodec.quantizers import residual, residual_kernel
from jaxcodec.quantizers.euclidean import EmaRVQ
from jaxcodec.quantizers.factorized import FactorizedRVQ
from jaxcodec.quantizers.simvq import SimRVQ

B, T, D, K, V = 2, 50, 5, 3, 130
rng = np.random.default_rng(0)
# Sums of small integers are exact in any order, and many codes are equally near.
WHOLE = rng.integers(-4, 5, (B, T, D)).astype(np.float32)
WHOLE_BOOKS = [rng.integers(-3, 4, (V, D)).astype(np.float32) for _ in range(K)]
REAL = rng.standard_normal((B, T, D)).astype(np.float32)
REAL_BOOKS = [rng.standard_normal((V, D)).astype(np.float32) for _ in range(K)]


def _expected(z_BxTxD, books):
  left, codes = z_BxTxD.astype(np.float64), []
  for book in books:
    distance = ((left[:, :, None] - book) ** 2).sum(-1)
    codes.append(distance.argmin(-1))
    left = left - book[codes[-1]]
  return np.stack(codes, -1)


def _in_chunks(z_BxTxD, books):
  # Seven frames of a row at once: eight chunks, the last of them not full.
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(residual.ops, "score_numbers", lambda: B * V * 7)
    return residual.residual_codes(z_BxTxD, books)


FORMS = {
  "at_once": residual.at_once,
  "in_chunks": _in_chunks,
  "fused for gpu": functools.partial(residual_kernel.fused, interpret=True),
  "fused for tpu": functools.partial(residual_kernel.fused, interpret=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_codes_are_those_of_all_distances(form):
  def find(z_BxTxD, books):
    with platform.assume(form.split()[-1] if "fused" in form else "cpu"):
      return jitted(z_BxTxD, books)

  jitted = jax.jit(FORMS[form])
  codes = find(WHOLE, WHOLE_BOOKS)
  assert codes.dtype == jnp.int32 and codes.shape == (B, T, K)
  np.testing.assert_array_equal(codes, _expected(WHOLE, WHOLE_BOOKS))
  np.testing.assert_array_equal(find(REAL, REAL_BOOKS), _expected(REAL, REAL_BOOKS))


@pytest.mark.parametrize("name", ["cuda", "tpu"])
def test_the_kernel_lowers_for_accelerators_and_holds_no_scores(name):
  checks = [export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]
  options = dict(platforms=[name], disabled_checks=checks)
  with platform.assume(name):
    find = lambda z, books: residual_kernel.fused(z, books)  # noqa: E731
    lowered = export.export(jax.jit(find), **options)
    program = lowered(REAL, REAL_BOOKS).mlir_module()
  assert program.count("stablehlo.custom_call") == 1
  assert not re.search(r"stablehlo\.(dot_general|while)\b", program)


def test_a_platform_is_given_the_kernel_by_its_name(monkeypatch):
  def kernels(name):
    with platform.assume(name):
      find = lambda z: residual.residual_codes(z, REAL_BOOKS)  # noqa: E731
      return str(jax.make_jaxpr(find)(REAL)).count("pallas_call")

  assert kernels("cuda") == 0
  monkeypatch.setattr(residual_kernel, "PLATFORMS", ("cuda",))
  assert [kernels(name) for name in ("cuda", "cpu", "tpu")] == [1, 0, 0]


def test_an_hour_takes_the_memory_of_a_chunk():
  frames = 75 * 3600
  z = jax.ShapeDtypeStruct((1, frames, 16), jnp.float32)
  books = [jax.ShapeDtypeStruct((1024, 16), jnp.float32)] * 2
  program = jax.jit(residual.residual_codes).lower(z, books).compile()
  scores = 4 * frames * 1024
  assert program.memory_analysis().temp_size_in_bytes < scores / 10


@pytest.mark.parametrize(
  "quantizer",
  [EmaRVQ(D, K, V), SimRVQ(D, K, V), FactorizedRVQ(D, K, V, 2)],
  ids=lambda q: type(q).__name__,
)
def test_chunks_give_a_quantiser_the_same_codes(quantizer, monkeypatch):
  variables = jax.jit(quantizer.init)(jax.random.key(0), REAL)
  encode = lambda v, z: quantizer.apply(v, z, method="encode")  # noqa: E731
  whole = jax.jit(encode)(variables, REAL)
  monkeypatch.setattr(residual.ops, "score_numbers", lambda: B * V * 7)
  chunked = jax.jit(lambda v, z: encode(v, z))(variables, REAL)
  np.testing.assert_array_equal(chunked, whole)
  assert len(np.unique(whole)) > V / 4
