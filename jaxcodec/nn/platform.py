"""Which platform programs are traced for."""

import contextlib
from collections.abc import Iterator

import jax

_assumed: list[str] = []
# Compute capability from which cuDNN has fused attention: Ampere.
_FUSED_FROM = 8.0


def name() -> str:
  """Returns "cpu", "gpu" or "tpu": JAX's default backend, or what is assumed."""
  return _assumed[-1] if _assumed else jax.default_backend()


def on_cpu() -> bool:
  """Whether programs are for a CPU."""
  return name() == "cpu"


def has_cudnn_attention() -> bool:
  """Whether programs are for NVIDIA GPUs that cuDNN has fused attention for.

  An assumed "gpu" has none, as it may be anyone's; "cuda" has.
  """
  if _assumed:
    return _assumed[-1] == "cuda"
  if jax.default_backend() != "gpu":
    return False
  device = jax.local_devices()[0]
  if "cuda" not in device.client.platform_version.lower():
    return False
  return float(getattr(device, "compute_capability", 0)) >= _FUSED_FROM


@contextlib.contextmanager
def assume(platform: str) -> Iterator[None]:
  """Traces programs for `platform` ("cpu", "gpu", "cuda", "tpu") in this context.

  For programs that are compiled for devices this machine lacks; "gpu" is a GPU without
  kernels of its vendor. What jit has traced before is not traced again.
  """
  _assumed.append(platform)
  try:
    yield
  finally:
    _assumed.pop()
