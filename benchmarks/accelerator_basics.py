"""The device itself, and quantisers on it: parts of `accelerator.py`."""

import functools
import platform as machine

import accelerator_timing as timing
import jax
import jax.numpy as jnp
import numpy as np
from side import speech_like

from jaxcodec.build.codec import make_preset
from jaxcodec.nn import platform
from jaxcodec.train import flops


def device(run):
  """What it is, and what JAX says of it."""
  first = jax.local_devices()[0]
  run.row(
    "device",
    kind=first.device_kind,
    platform=first.platform,
    count=jax.local_device_count(),
    capability=str(getattr(first, "compute_capability", "-")),
    memory_bytes=timing.device_limit_bytes() or 0,
    peak_flops=flops.peak(first) or 0,
    jax=jax.__version__,
    python=machine.python_version(),
  )


def ceilings(run):
  """The rates that nothing can exceed: of copying, and of matrix products."""
  x = jnp.ones(run.sizes.numbers, jnp.float32)
  copy = timing.build(lambda x: x * 1.0001, x)
  seconds = timing.seconds_per_call(lambda: copy.call(x), run.sizes.turn)
  run.ceilings["copy"] = 2 * x.nbytes / seconds
  run.row("copy", bytes_per_s=run.ceilings["copy"], compile_s=copy.compile_s)
  keys = jax.random.split(jax.random.key(0))
  shape = run.sizes.matrix, run.sizes.matrix
  for dtype, precision in (("bfloat16", None), ("float32", "highest")):
    # Random numbers: a GPU multiplies zeros faster than it can go on doing.
    a, b = (jax.random.normal(key, shape, dtype) for key in keys)
    multiply = functools.partial(jnp.matmul, precision=precision)
    program = timing.build(multiply, a, b)
    seconds = timing.seconds_per_call(
      lambda program=program, a=a, b=b: program.call(a, b), run.sizes.turn
    )
    rate = program.flops / seconds
    if dtype == "bfloat16":
      run.ceilings["matmul"] = rate
    run.row(
      f"matmul {dtype}",
      flops_per_s=rate,
      **share("share_of_peak", rate, flops.peak(jax.local_devices()[0])),
      compile_s=program.compile_s,
    )


def parity(run):
  """Codes and audio of codecs with random weights, the same on a CPU and the device."""
  cpu = jax.local_devices(backend="cpu")[0]
  for name, config in run.sizes.codecs.items():
    codec = make_preset(config)
    samples = int(run.sizes.parity_seconds * codec.sample_rate)
    audio = speech_like(1, samples, codec.num_channels)
    with jax.default_device(cpu), platform.assume("cpu"):
      variables = jax.jit(codec.init)(jax.random.key(0), audio)
      expected = _code(codec, variables, audio)
    for precision in ("highest", None):
      with jax.default_matmul_precision(precision):
        found = _code(codec, jax.device_put(variables, jax.local_devices()[0]), audio)
      same = found[0] == expected[0]
      largest = np.abs(expected[1]).max()
      run.row(
        f"{name}, precision {precision or 'default'}",
        same_codes=float(same.mean()),
        same_first_codes=float(same[..., 0].mean()),
        frames=same.shape[1],
        audio_error=float(np.abs(found[1] - expected[1]).max() / largest),
      )


def _code(codec, variables, audio):
  """Returns the codes of audio, and audio from a fixed set of codes."""

  def both(variables, audio):
    tokens = codec.apply(variables, audio, method="encode")
    fixed = jnp.arange(tokens.codes_BxTxK.size).reshape(tokens.codes_BxTxK.shape)
    fixed = tokens.replace(codes_BxTxK=fixed % codec.spec.codebook_size)
    return tokens.codes_BxTxK, codec.apply(variables, fixed, method="decode")

  return jax.device_get(jax.jit(both)(variables, audio))


def rvq(run):
  """Quantisers alone: time, bytes, and their share of the bandwidth of copying.

  The bytes are those that cannot be avoided: latents, codes and codebooks, each once.
  """
  for name in ("dac", "encodec"):
    codec = make_preset(run.sizes.codecs[name])
    quantizer, width = codec.quantizer, codec.encoder.output_dim
    shape = 8, run.sizes.rvq_frames // 8, width
    z_BxTxD = jax.random.normal(jax.random.key(0), shape)
    variables = jax.jit(quantizer.init)(jax.random.key(1), z_BxTxD)
    codes = jax.jit(lambda v, z, q=quantizer: q.apply(v, z, method="encode"))(
      variables, z_BxTxD
    )
    books = sum(x.nbytes for x in jax.tree.leaves(variables))
    least = z_BxTxD.nbytes + codes.nbytes + books
    for method, given in (("encode", z_BxTxD), ("decode", codes)):
      program = timing.build(
        lambda v, x, q=quantizer, m=method: q.apply(v, x, method=m), variables, given
      )
      seconds = timing.seconds_per_call(
        lambda program=program, v=variables, x=given: program.call(v, x), run.sizes.turn
      )
      run.row(
        f"{name} {method}, {codes.shape[-1]} codebooks",
        seconds=seconds,
        frames_per_s=shape[0] * shape[1] / seconds,
        bytes=least,
        xla_bytes=program.accessed_bytes,
        **share("share_of_copy", least / seconds, run.ceilings.get("copy")),
        memory_bytes=program.memory_bytes,
        compile_s=program.compile_s,
      )


def share(name, value, whole):
  """Returns {name: value / whole}, {} where the whole isn't known."""
  return {name: value / whole} if whole else {}
