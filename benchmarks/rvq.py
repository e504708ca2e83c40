"""Times the forms of the residual search: EnCodec's codebooks, 1 s, 10 s and an hour.

    python benchmarks/rvq.py

A row has the bytes that cannot be avoided (latents, codes and codebooks, each once) and
their share of what copying moves in that time; what the program needs beside its
arguments; and how many codes are those of the first form. The fused kernel runs on GPUs
and TPUs only.
"""

import argparse

import accelerator_timing as timing
import jax
import jax.numpy as jnp
import numpy as np

from jaxcodec.nn import platform
from jaxcodec.quantizers import residual, residual_kernel

FRAME_RATE, WIDTH, BOOKS, CODES = 75, 128, 8, 1024
TURN = 2.0  # seconds of measuring each


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--seconds", type=int, nargs="+", default=[1, 10, 3600])
  arguments = parser.parse_args()
  copied = copy_bytes_per_s()
  print(f"{jax.devices()[0].device_kind} copies {copied / 1e9:.1f} GB/s\n")
  print("| audio | form | ms | MB at least | of copying | MB beside | same codes |")
  print("|---|---|---|---|---|---|---|")
  for seconds in arguments.seconds:
    z_BxTxD, books = make_inputs(seconds * FRAME_RATE)
    reference = None
    for name, form in forms().items():
      codes, cells = measure(form, z_BxTxD, books, copied)
      reference = codes if reference is None else reference
      cells = [f"{seconds} s", name, *cells, f"{jnp.mean(codes == reference):.4%}"]
      print(f"| {' | '.join(cells)} |", flush=True)


def forms():
  """The forms by name, the reference first."""
  found = {"at once": residual.at_once, "in chunks": residual.residual_codes}
  if not platform.on_cpu():
    found["fused"] = residual_kernel.fused
  return found


def make_inputs(frames):
  """Returns noise and codebooks of ever smaller noise, as those of a codec are."""
  rng = np.random.default_rng(0)
  z_BxTxD = rng.standard_normal((1, frames, WIDTH)).astype(np.float32)
  books = [
    0.8**k * rng.standard_normal((CODES, WIDTH)).astype(np.float32)
    for k in range(BOOKS)
  ]
  return jnp.asarray(z_BxTxD), [jnp.asarray(book, jnp.float32) for book in books]


def measure(form, z_BxTxD, books, copied):
  """Returns the codes, and cells of the table."""
  program = jax.jit(form).lower(z_BxTxD, books).compile()
  codes = program(z_BxTxD, books)
  seconds = timing.seconds_per_call(lambda: program(z_BxTxD, books), TURN)
  least = z_BxTxD.nbytes + codes.nbytes + sum(book.nbytes for book in books)
  beside = program.memory_analysis().temp_size_in_bytes
  return codes, [
    f"{1e3 * seconds:.4g}",
    f"{least / 1e6:.4g}",
    f"{least / seconds / copied:.2%}",
    f"{beside / 1e6:.4g}",
  ]


def copy_bytes_per_s():
  """Returns the bytes per second, read and written, of copying 256 MB."""
  x = jnp.ones(2**26, jnp.float32)
  copy = jax.jit(lambda x: x * 1.0001)
  return 2 * x.nbytes / timing.seconds_per_call(lambda: copy(x), TURN)


if __name__ == "__main__":
  main()
