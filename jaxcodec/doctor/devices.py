"""Checks that every device computes, alone and together with the others."""

import collections
import os
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.doctor.diagnosis import FAIL, PASS, WARN
from jaxcodec.parallel import sharding

# Products of small integers are exact in every type, also in TF32 and bfloat16.
_SIZE, _TIMED = 256, 1024


def start_problem() -> str | None:
  """Says why JAX has no devices, and what to do; None if it has."""
  try:
    jax.devices()
    return None
  except (AssertionError, RuntimeError) as error:
    wanted = os.environ.get("JAX_PLATFORMS", "")
    reason = str(error).strip().partition("\n")[0] or "no plugin for it is installed"
    return (
      f"JAX cannot start the platform that JAX_PLATFORMS={wanted} asks for: {reason}."
      ' NVIDIA GPUs need pip install "jax[cuda13]", TPUs pip install "jax[tpu]";'
      " JAX_PLATFORMS=cpu uses the CPU, and without JAX_PLATFORMS JAX takes what it"
      " finds"
    )


def products() -> Iterator[tuple[str, str]]:
  """Compares a matrix product on every device of this process with numpy's."""
  rng = np.random.default_rng(0)
  a, b = rng.integers(-1, 2, (2, _SIZE, _SIZE)).astype(np.float32)
  product = jax.jit(jnp.matmul)
  wrong = [
    str(device)
    for device in jax.local_devices()
    if (np.asarray(product(*jax.device_put((a, b), device))) != a @ b).any()
  ]
  kinds = collections.Counter(device.device_kind for device in jax.devices())
  names = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
  if wrong:
    yield FAIL, f"wrong products on {', '.join(wrong)} of {names}"
  else:
    yield PASS, f"{names}; {_speed():.3g} GFLOP/s of float32 on the first"


def _speed() -> float:
  x = jnp.ones((_TIMED, _TIMED))
  product = jax.jit(lambda x: x @ x)
  product(x).block_until_ready()
  start = time.monotonic()
  for _ in range(5):
    product(x).block_until_ready()
  return 5 * 2 * _TIMED**3 / (time.monotonic() - start) / 1e9


def collective() -> Iterator[tuple[str, str]]:
  """Sums an array that is sharded over all devices."""
  mesh = sharding.make_mesh()
  numbers = np.arange(1, 1 + mesh.size, dtype=np.float32)
  whole, spread = sharding.replicated(mesh), sharding.batch_sharding(mesh)
  x = jax.make_array_from_callback(numbers.shape, spread, lambda index: numbers[index])
  total = float(jax.jit(jnp.sum, out_shardings=whole)(x))
  expected = mesh.size * (mesh.size + 1) / 2
  if total == expected:
    yield PASS, f"the sum over {mesh.size} devices is right"
  else:
    yield FAIL, f"the sum over {mesh.size} devices is {total}, not {expected}"


def memory() -> Iterator[tuple[str, str]]:
  """Reports the free memory of devices that tell it."""
  for device in jax.local_devices():
    stats = device.memory_stats() or {}
    if not {"bytes_limit", "bytes_in_use"} <= stats.keys():
      continue
    limit, used = stats["bytes_limit"] / 2**30, stats["bytes_in_use"] / 2**30
    status = PASS if used < limit / 2 else WARN
    yield status, f"{device}: {limit - used:.1f} of {limit:.1f} GiB are free"
