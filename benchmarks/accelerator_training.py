"""Training steps at full size in bfloat16: parts of `accelerator.py`."""

import accelerator_timing as timing
import jax
import jax.numpy as jnp
import numpy as np
from accelerator_basics import share

from jaxcodec.build.codec import make_preset
from jaxcodec.build.optimizers import make_adamw
from jaxcodec.codecs.discriminators import DacDiscriminator
from jaxcodec.nn import remat
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.valle import Valle
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.tasks.slm import SlmTask
from jaxcodec.train import flops
from jaxcodec.types import TokenSpec

SPEC = TokenSpec(num_codebooks=8, codebook_size=1024, hop=320, sample_rate=16_000)
SEMANTIC, SYMBOLS = 512, 100  # semantic tokens, and kinds of text symbols
_WEIGHTS = dict(mel=15.0, adversarial=1.0, feature=2.0, codebook=1.0, commitment=0.25)
_ADAMW = dict(learning_rate=1e-4, gamma=0.999996, warmup_steps=0)
_ADAMW |= dict(b1=0.8, b2=0.99, weight_decay=0.01)


def codec_task(sizes, name):
  """The training of a codec with DAC's discriminators, all layers in bfloat16."""
  return CodecGanTask(
    codec=make_preset({**sizes.codecs[name], "dtype": "bfloat16"}),
    discriminator=DacDiscriminator(dtype=jnp.bfloat16, **sizes.discriminator),
    opt=make_adamw({**_ADAMW, "clip_norm": 1e3}, "optimizer"),
    disc_opt=make_adamw({**_ADAMW, "clip_norm": 10.0}, "disc_optimizer"),
    weights=_WEIGHTS,
    mel_scales=sizes.mel_scales,
  )


def codec_batch(sizes, rows):
  shape = rows, sizes.crop_samples
  return {"audio_BxN": 0.1 * jax.random.normal(jax.random.key(0), shape)}


def language_model(sizes, name, remat="none"):
  """A language model in bfloat16."""
  fields = dict(sizes.transformer, dtype=jnp.bfloat16, remat=remat)
  if name == "maskgit":
    return MaskGit(SPEC, SEMANTIC, **fields, fully_masked=0.5)
  options = dict(positions="aligned", level_weights="linear")  # as recipes have it
  return Valle(SPEC, SYMBOLS, **fields, **options)


def language_batch(sizes, rows):
  """Rows of random tokens and texts, of which some are shorter than the batch."""
  rng, frames = np.random.default_rng(0), sizes.window_frames
  draw = lambda top, *shape: jnp.asarray(rng.integers(0, top, (rows, *shape)), "i4")  # noqa: E731
  length_B = rng.integers(frames // 2, frames + 1, rows)
  symbols_B = rng.integers(sizes.symbols // 2, sizes.symbols + 1, rows)
  return {
    "codes_BxTxK": draw(SPEC.codebook_size, frames, SPEC.num_codebooks),
    "semantic_BxT": draw(SEMANTIC, frames),
    "mask_BxT": jnp.asarray(np.arange(frames) < length_B[:, None]),
    "text_BxS": draw(SYMBOLS, sizes.symbols),
    "text_mask_BxS": jnp.asarray(np.arange(sizes.symbols) < symbols_B[:, None]),
  }


def maskgit(run):
  """One step of the masked model, at the recipe's batch."""
  _steps(run, "maskgit", run.sizes.windows, (1,))


def valle(run):
  """One step of VALL-E's halves, at the recipe's batch."""
  _steps(run, "valle", run.sizes.utterances, (1,))


def dac(run):
  """One step of DAC and its discriminators, at the recipe's batch."""
  _steps(run, "dac", run.sizes.crops, (1,))


def encodec(run):
  """The same of EnCodec, whose codebooks are running means."""
  _steps(run, "encodec", run.sizes.crops, (1,))


def larger_maskgit(run):
  """Steps of ever larger batches."""
  _steps(run, "maskgit", run.sizes.windows, run.sizes.larger)


def larger_valle(run):
  """Steps of ever larger batches."""
  _steps(run, "valle", run.sizes.utterances, run.sizes.larger)


def larger_dac(run):
  """Steps of ever larger batches."""
  _steps(run, "dac", run.sizes.crops, run.sizes.larger)


def _steps(run, name, rows, factors):
  """Measures batches of `rows` times each factor, until memory or time runs out.

  A model that keeps all activations is measured first; one that keeps less of them from
  where that takes too much memory.
  """
  modes = ["none"] if name in run.sizes.codecs else list(remat.MODES)
  for factor in factors:
    while modes:
      what = f"{name}, {rows * factor} rows, remat {modes[0]}"
      if run.left() < run.kept.get(name, 0.0):
        run.row(what, stopped="too little time")
        return
      begin = run.left()
      fits = _step(run, name, what, rows * factor, modes[0])
      # Compiling takes most of it, which doesn't grow with the batch.
      run.kept[name] = 1.2 * (begin - run.left())
      if fits:
        break
      modes.pop(0)


def _step(run, name, what, rows, mode):
  """Measures one batch; returns whether it fits into the memory."""
  if name in run.sizes.codecs:
    task, batch = codec_task(run.sizes, name), codec_batch(run.sizes, rows)
  else:
    task = SlmTask(language_model(run.sizes, name, mode), steps=100_000)
    batch = language_batch(run.sizes, rows)
  try:
    shapes = jax.eval_shape(task.init, jax.random.key(0), batch)
    step = timing.build(task.train_step, shapes, batch, donate_argnums=0)
    limit = timing.device_limit_bytes()
    if limit and step.memory_bytes > limit:
      run.row(what, stopped="memory", memory_bytes=step.memory_bytes)
      return False
    loop = _Loop(step, jax.jit(task.init)(jax.random.key(0), batch), batch)
    seconds = timing.seconds_per_call(loop, run.sizes.turn)
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    run.row(what, stopped="memory")
    return False
  run.row(what, **_rates(run, step, seconds, batch))
  return True


class _Loop:
  """Training on one batch, as a function without arguments; the state is replaced."""

  def __init__(self, step, state, batch):
    self._step, self._state, self._batch = step, state, batch

  def __call__(self):
    self._state, metrics = self._step.call(self._state, self._batch)
    return metrics


def _rates(run, step, seconds, batch):
  rows = len(next(iter(batch.values())))
  frames = sum(x.size for name, x in batch.items() if name == "mask_BxT")
  peak = flops.peak(jax.local_devices()[0])
  samples = batch["audio_BxN"].size if "audio_BxN" in batch else frames * SPEC.hop
  return {
    "seconds": seconds,
    "rows_per_s": rows / seconds,
    "audio_seconds_per_s": samples / SPEC.sample_rate / seconds,
    "flops": step.flops,
    **share("mfu", step.flops / seconds, peak),
    **share("hfu", (step.flops + step.recomputed_flops) / seconds, peak),
    **share("share_of_matmul", step.flops / seconds, run.ceilings.get("matmul")),
    **share("share_of_copy", step.accessed_bytes / seconds, run.ceilings.get("copy")),
    "memory_bytes": step.memory_bytes,
    "process_peak_bytes": timing.device_peak_bytes() or 0,
    "compile_s": step.compile_s,
  }
