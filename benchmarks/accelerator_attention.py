"""The platform's attention kernel beside the one of XLA: a part of `accelerator.py`."""

import functools

import accelerator_timing as timing
import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.nn import attention, attention_kernels, ops, platform, visibility

# Of bfloat16's sums, as a share of the largest number.
_TOLERANCE = 0.05


def attention_kernel(run):
  """Errors of the kernel against float32, forward and backward, and the times of both.

  If it fails or is wrong, the rest of the run goes without it.
  """
  _, frames, _, head_dim = run.sizes.attention
  kernel = ops.attention_kernel(jnp.bfloat16, head_dim)
  if kernel is None and jax.default_backend() == "cpu":  # to have run what follows
    alike = functools.partial(attention_kernels.cudnn, implementation="xla")
    kernel = ops.AttentionKernel(alike, attention_kernels.CUDNN_FRAMES)
  if kernel is None:
    run.row("no kernel", platform=platform.name())
    return
  try:
    mask_BxT = _mask(run.sizes)
    for kind, visible in (
      ("all", attention.bidirectional(mask_BxT)),
      ("causal", attention.causal(mask_BxT)),
      ("prefix", attention.causal(mask_BxT, frames // 3)),
    ):
      _compare(run, kind, kernel, visible)
  except Exception:
    run.contexts.enter_context(platform.assume("gpu"))  # without its maker's kernels
    raise


def _mask(sizes):
  """Returns valid frames, with padding behind a text and behind the codes after it."""
  rows, frames, _, _ = sizes.attention
  rng, at_T = np.random.default_rng(0), np.arange(frames)
  text_B = rng.integers(frames // 6, frames // 3, rows)
  end_B = rng.integers(frames // 2, frames, rows)
  first_BxT = at_T < text_B[:, None]
  rest_BxT = (at_T >= frames // 3) & (at_T < end_B[:, None])
  return jnp.asarray(first_BxT | rest_BxT)


def _compare(run, kind, kernel, visible):
  keys = jax.random.split(jax.random.key(0), 3)
  arrays = [jax.random.normal(key, run.sizes.attention, jnp.bfloat16) for key in keys]
  found, seconds = _timed(run, functools.partial(_by_kernel, kernel), arrays, visible)
  _, plain_seconds = _timed(run, _plain, arrays, visible)
  exact = [x.astype(jnp.float32) for x in arrays]
  with jax.default_matmul_precision("highest"):
    wanted, _ = _timed(run, _plain, exact, visible)
  errors = [
    float(jnp.abs(a - b).max() / jnp.abs(b).max())
    for a, b in zip(found, wanted, strict=True)
  ]
  run.row(
    kind,
    error=errors[0],
    gradient_error=float(np.max(errors[1:])),  # NaN if any is
    seconds=seconds,
    plain_seconds=plain_seconds,
  )
  if not np.max(errors) < _TOLERANCE:
    raise ValueError(f"{kind}: the kernel's errors are {errors}")


def _timed(run, attend, arrays, visible):
  """Returns results and gradients at valid frames, and seconds of computing both."""

  def both(visible, *arrays):
    valid = visible.mask_BxT[:, :, None, None]
    only_valid = lambda *x: jnp.where(valid, attend(*x, visible), 0)  # noqa: E731
    out, pullback = jax.vjp(only_valid, *arrays)
    return out, *pullback(out)

  program = timing.build(both, visible, *arrays)
  call = lambda: program.call(visible, *arrays)  # noqa: E731
  return call(), timing.seconds_per_call(call, run.sizes.turn / 4)


def _by_kernel(kernel, q, k, v, visible):
  if not kernel.packed:
    return kernel.attend(q, k, v, visible)
  packed, order = visibility.pack(visible)
  moved = (visibility.reorder(x, order.from_BxT) for x in (q, k, v))
  return visibility.reorder(kernel.attend(*moved, packed), order.to_BxT)


def _plain(q, k, v, visible):
  heads_first = (jnp.swapaxes(x, 1, 2) for x in (q, k, v))
  return jnp.swapaxes(attention.attend(*heads_first, visible.dense()), 1, 2)
