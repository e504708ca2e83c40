"""Kernels of GPUs and TPUs give what `attend` gives, and store no scores.

None of them runs here: cuDNN's is replaced by XLA's computation of the same arguments,
the TPU's is interpreted, and the programs are lowered for platforms that aren't here.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.nn import attention, attention_kernels, ops, platform, visibility

KINDS = ("both", "causal", "prefix")
PREFIX = 3
FRAMES = 639  # of lowered programs, which kernels make 640
# A text of three symbols, the last two or one of which are padding, and codes.
MASK = np.array([[1, 0, 0, 1, 1, 1, 0], [1, 1, 0, 1, 1, 1, 1]], bool)
cudnn = functools.partial(attention_kernels.cudnn, implementation="xla")


def _visible(kind, mask_BxT):
  if kind == "both":
    return attention.bidirectional(mask_BxT)
  return attention.causal(mask_BxT, PREFIX if kind == "prefix" else 0)


def _normal(seed, *shape):
  return jax.random.normal(jax.random.key(seed), shape)


def _reference(q, k, v, visible):
  heads_first = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
  return jnp.swapaxes(attention.attend(*heads_first, visible.dense()), 1, 2)


def _by_cudnn(q, k, v, visible):
  packed, order = visibility.pack(visible)
  moved = (visibility.reorder(x, order.from_BxT) for x in (q, k, v))
  return visibility.reorder(cudnn(*moved, packed), order.to_BxT)


def _compare(kernel, arrays, visible, tolerance):
  """Compares results of valid frames, and what they send back to all frames."""

  @functools.partial(jax.jit, static_argnums=0)
  def run(attend, *arrays):
    out, pullback = jax.vjp(lambda *x: attend(*x, visible), *arrays)
    valid = visible.mask_BxT[:, :, None, None]
    return jnp.where(valid, out, 0), pullback(jnp.where(valid, jnp.cos(out), 0))

  got, want = (run(attend, *arrays) for attend in (kernel, _reference))
  for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    np.testing.assert_allclose(one, other, atol=tolerance)
  assert np.abs(got[0]).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_packed_frames_attend_as_the_reference_does(kind):
  arrays = [_normal(i, *MASK.shape, 2, 8) for i in range(3)]
  _compare(_by_cudnn, arrays, _visible(kind, jnp.asarray(MASK)), 3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_tpu_kernel_attends_as_the_reference_does(kind):
  mask_BxT = jnp.asarray(np.pad(MASK, ((0, 0), (0, 125)), constant_values=True))
  arrays = [_normal(i, *mask_BxT.shape, 1, 8) for i in range(3)]
  splash = functools.partial(attention_kernels.splash, interpret=True)
  _compare(splash, arrays, _visible(kind, mask_BxT), 3e-5)


def test_a_row_without_valid_frames_gives_finite_numbers():
  mask_BxT = jnp.asarray(MASK).at[1].set(False)
  arrays = [_normal(i, *MASK.shape, 1, 8) for i in range(3)]
  total = lambda *x: _by_cudnn(*x, _visible("prefix", mask_BxT)).sum()  # noqa: E731
  for grad in jax.jit(jax.grad(total, (0, 1, 2)))(*arrays):
    assert np.isfinite(grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_transformer_gives_the_same_by_a_kernel(kind, monkeypatch):
  model = attention.Transformer(depth=2, heads=2, num_levels=2)
  x, visible = _normal(0, *MASK.shape, 16), _visible(kind, jnp.asarray(MASK))
  rest = dict(position_BxT=attention.positions(MASK), level_B=jnp.array([1, 0]))
  params = model.init(jax.random.key(1), x, visible, **rest)
  want = jax.jit(lambda x: model.apply(params, x, visible, **rest))(x)
  kernel = ops.AttentionKernel(cudnn, attention_kernels.CUDNN_FRAMES)
  monkeypatch.setattr(ops, "attention_kernel", lambda *_: kernel)
  got = jax.jit(lambda x: model.apply(params, x, visible, **rest))(x)
  np.testing.assert_allclose(got[MASK], want[MASK], atol=1e-5)


def _lowered(target, kind):
  """Returns the gradient's program of a layer for a platform, as text."""
  model = attention.Transformer(depth=1, heads=2, dtype=jnp.bfloat16)
  mask_BxT = jnp.ones((2, FRAMES), bool)
  x, visible = jnp.ones((2, FRAMES, 32)), _visible(kind, mask_BxT)

  def loss(params, x):
    return model.apply(params, x, visible).astype(jnp.float32).sum()

  with platform.assume(target):
    params = jax.eval_shape(model.init, jax.random.key(0), x, visible)
    traced = jax.jit(jax.grad(loss)).trace(params, x)
    lowered = traced.lower(lowering_platforms=(target.replace("gpu", "cuda"),))
    return lowered.as_text()


def _scores(text):
  """Returns the shapes in a program that are as large as all frames by all frames."""
  shapes = re.findall(r"tensor<((?:\d+x)+)\w+>", text)
  return {s for s in shapes if len(re.findall(f"{FRAMES}x|{FRAMES + 1}x", s)) > 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_runs_cudnn_and_stores_no_scores(kind, monkeypatch):
  library = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
  # Which version there will be isn't known where there is no GPU.
  monkeypatch.setattr(library, "check_cudnn_version", lambda: 91_000)
  text = _lowered("cuda", kind)
  assert text.count("__cudnn$fmhaSoftmax(") >= (2 if kind == "prefix" else 1)
  assert "__cudnn$fmhaSoftmaxBackward" in text
  assert ("PADDING_CAUSAL" in text) == (kind != "both")
  assert not _scores(text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tpu_runs_splash_attention_and_stores_no_scores(kind):
  text = _lowered("tpu", kind)
  assert text.count("tpu_custom_call") >= 3  # forward, and two of the gradient
  assert not _scores(text)


def test_scores_are_stored_without_a_kernel():
  assert _scores(_lowered("gpu", "both"))


def test_which_kernel_is_chosen():
  half, single = jnp.bfloat16, jnp.float32
  assert ops.attention_kernel(half, 64) is None  # on a CPU
  with platform.assume("cuda"):
    assert ops.attention_kernel(half, 64).attend is attention_kernels.cudnn
    assert ops.attention_kernel(single, 64) is None
    assert ops.attention_kernel(half, 256) is None
  with platform.assume("tpu"):
    assert ops.attention_kernel(half, 64).attend is attention_kernels.splash
    assert ops.attention_kernel(single, 64) is None
