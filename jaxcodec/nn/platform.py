"""Which platform programs are traced for."""

import contextlib
from collections.abc import Iterator

import jax

_assumed: list[str] = []


def on_cpu() -> bool:
  """Whether programs are for a CPU: JAX's default backend, or what is assumed."""
  return (_assumed[-1] if _assumed else jax.default_backend()) == "cpu"


@contextlib.contextmanager
def assume(platform: str) -> Iterator[None]:
  """Traces programs for `platform` ("cpu", "gpu", "tpu") in this context.

  For programs that are compiled for devices this machine lacks. What jit has traced
  before is not traced again.
  """
  _assumed.append(platform)
  try:
    yield
  finally:
    _assumed.pop()
