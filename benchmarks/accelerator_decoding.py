"""Generation by both language models, and tokenising: parts of `accelerator.py`."""

import functools
import time

import accelerator_timing as timing
import jax
import jax.numpy as jnp
import numpy as np
from accelerator_basics import share
from accelerator_training import SPEC, language_batch, language_model
from side import speech_like

from jaxcodec.build.codec import make_preset
from jaxcodec.inference import placement
from jaxcodec.inference.codec import CodecRunner
from jaxcodec.inference.frames import by_frame
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.semantic.tokenizer import SemanticTokenizer
from jaxcodec.slm import nar
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.decode import IterativeSampler
from jaxcodec.slm.positions import own_pace
from jaxcodec.train import flops

_CLUSTERS = 512
_RATES = dict(temperature=0.95, top_k=30, top_p=0.9)  # the recipe's


def valle(run):
  """VALL-E at the numbers of rows that are spoken together."""
  for rows in run.sizes.spoken:
    _speak(run, rows)


def larger_valle(run):
  """The same for ever more rows."""
  for factor in run.sizes.larger:
    if run.left() > 0:
      _speak(run, run.sizes.spoken[-1] * factor)


def maskgit(run):
  """The masked model at the numbers of rows that are spoken together."""
  for rows in run.sizes.spoken:
    _unmask(run, rows)


def larger_maskgit(run):
  """The same for ever more rows."""
  for factor in run.sizes.larger:
    if run.left() > 0:
      _unmask(run, run.sizes.spoken[-1] * factor)


def _speak(run, rows):
  """Times codebook 0, which the bound on the bandwidth is for, and the others."""
  model, frames = language_model(run.sizes, "valle"), run.sizes.spoken_frames
  batch = language_batch(run.sizes, rows)
  params = jax.jit(model.init_params)(jax.random.key(0), language_batch(run.sizes, 1))
  sampler = ArSampler(frames, min_frames=frames, **_RATES)
  text = batch["text_BxS"], batch["text_mask_BxS"]
  start = time.monotonic()
  speak = lambda: model.generate(params, jax.random.key(1), *text, sampler=sampler)  # noqa: E731
  codes_BxTxK = jax.block_until_ready(speak()).tokens.codes_BxTxK
  first = time.monotonic() - start
  seconds = timing.seconds_per_call(speak, run.sizes.turn)
  fill = jax.jit(nar.fill_levels, static_argnums=0)
  prompt = codes_BxTxK[:, :0], jnp.zeros((rows, 0), bool)
  mask_BxT = jnp.ones(codes_BxTxK.shape[:2], bool)
  others = timing.seconds_per_call(
    lambda: fill(
      model.nar,
      nar.Draw(0.0, 0, 1.0),
      params["nar"],
      jax.random.split(jax.random.key(2), rows),
      text,
      prompt,
      (codes_BxTxK, mask_BxT),
      own_pace(text[1], mask_BxT),
    ),
    run.sizes.turn,
  )
  alone = max(seconds - others, 1e-9)
  slots = run.sizes.symbols + frames / 2
  read = frames * _bytes_a_frame(model, params["ar"], rows, slots)
  copy = run.ceilings.get("copy")
  run.row(
    f"valle, {rows} rows of {frames} frames",
    seconds=seconds,
    first_codebook_seconds=alone,
    tokens_per_s=rows * frames * SPEC.num_codebooks / seconds,
    frames_per_s=rows * frames / alone,
    real_time_factor=seconds / (rows * frames * SPEC.hop / SPEC.sample_rate),
    # Every frame reads all weights once, and the keys and values before it.
    **share("share_of_bandwidth_bound", read / alone, copy),
    compile_s=max(first - seconds, 0.0),
  )


def _bytes_a_frame(model, params, rows, slots):
  """Bytes that a step of decoding can't do without reading."""
  layers = jax.tree.leaves(params["transformer"]["layers"])
  weights = sum(x.size for x in layers) + params["head"].size
  cache = 2 * rows * model.depth * slots * model.width
  return (weights + cache) * jnp.dtype(model.dtype).itemsize


def _unmask(run, rows):
  model = language_model(run.sizes, "maskgit")
  batch = language_batch(run.sizes, rows)
  params = jax.jit(model.init_params)(jax.random.key(0), language_batch(run.sizes, 1))
  sampler = IterativeSampler(steps=(run.sizes.unmasking_steps,))
  tokens = ("semantic_BxT", "mask_BxT")
  decode = lambda params, key: model.generate(  # noqa: E731
    params, key, *(batch[name] for name in tokens), sampler=sampler
  )
  program = timing.build(decode, params, jax.random.key(1))
  seconds = timing.seconds_per_call(
    lambda: program.call(params, jax.random.key(1)), run.sizes.turn
  )
  frames = batch["mask_BxT"].size
  steps = run.sizes.unmasking_steps + SPEC.num_codebooks - 1
  weights = sum(x.nbytes for x in jax.tree.leaves(params["transformer"])) / 2
  bounds = [
    work / ceiling
    for work, ceiling in (
      (program.flops, run.ceilings.get("matmul")),
      (steps * weights, run.ceilings.get("copy")),
    )
    if ceiling
  ]
  run.row(
    f"maskgit, {rows} rows of {run.sizes.window_frames} frames",
    seconds=seconds,
    tokens_per_s=frames * SPEC.num_codebooks / seconds,
    real_time_factor=seconds / (frames * SPEC.hop / SPEC.sample_rate),
    # Of products at their measured rate, or of reading the weights at every step.
    **share("share_of_bound", max(bounds, default=0.0), seconds),
    **share("mfu", program.flops / seconds, flops.peak(jax.local_devices()[0])),
    memory_bytes=program.memory_bytes,
    compile_s=program.compile_s,
  )


def tokenise(run):
  """Hours of audio that become tokens in an hour: codes, and semantic tokens.

  The clips are in memory, as loading them is a matter of disks and CPUs.
  """
  codec = make_preset(run.sizes.codecs["dac"])
  rng, rate = np.random.default_rng(0), codec.sample_rate
  shortest, longest = (int(rate * s) for s in run.sizes.clip_seconds)
  noise = speech_like(1, longest, 1)[0, :, 0]
  clips = [noise[:n] for n in rng.integers(shortest, longest + 1, run.sizes.clips)]
  hours = sum(map(len, clips)) / rate / 3600
  shortest_BxNxC = noise[None, : codec.spec.hop, None]
  variables = jax.jit(codec.init)(jax.random.key(0), shortest_BxNxC)
  place = placement.for_corpus()
  runner = CodecRunner(codec, variables, place)
  features = Mfcc(sample_rate=rate, hop=codec.spec.hop)
  centroids = rng.standard_normal((_CLUSTERS, 2 * features.num_coefs))
  tokenizer = SemanticTokenizer(features, centroids.astype(np.float32))
  semantic = functools.partial(by_frame, tokenizer.encode, codec.spec, placement=place)
  for what, encode in (("codec", runner.encode), ("semantic", semantic)):
    start = time.monotonic()
    encode(clips)
    first = time.monotonic() - start
    start = time.monotonic()
    encode(clips)
    seconds = time.monotonic() - start
    run.row(
      f"{what}, {len(clips)} clips",
      audio_hours_per_hour=hours / (seconds / 3600),
      seconds=seconds,
      audio_hours=hours,
      compile_s=max(first - seconds, 0.0),
    )
