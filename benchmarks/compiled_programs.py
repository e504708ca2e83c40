"""The programs of `compiled.py`: training, decoding, tokenising, and a kernel."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import accelerator_training as training
import jax
import jax.numpy as jnp

from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.shapes import fold_for_inference, variable_shapes
from jaxcodec.inference.buckets import batch_rows, bucket
from jaxcodec.inference.placement import samples_for
from jaxcodec.quantizers import residual_kernel
from jaxcodec.slm import ar_frames, decode, incremental, nar, sampling
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.positions import own_pace
from jaxcodec.tasks.slm import SlmTask

_TILE = 512
_RATES = dict(temperature=0.95, top_k=30, top_p=0.9)  # the recipe's


class Program(NamedTuple):
  """A function to compile.

  Attributes:
    function: of `args`.
    args: trees of `ShapeDtypeStruct`s.
    replaced: which of them the result takes the place of.
    float32: whether layers are of float32, in the platform's default precision.
    frames: how long sequences are that attend to themselves, and may be when a kernel
      has padded them.
  """

  function: Callable[..., Any]
  args: tuple[Any, ...]
  replaced: tuple[int, ...] = ()
  frames: tuple[int, ...] = ()
  float32: bool = False


def train_codec(sizes, memory, name):
  """A step of a codec of the study and DAC's discriminators, in bfloat16."""
  codecs = {name: {"preset": name}, **sizes.codecs}
  task = training.codec_task(dataclasses.replace(sizes, codecs=codecs), name)
  return _step(task, jax.eval_shape(lambda: training.codec_batch(sizes, sizes.crops)))


def train_language_model(sizes, memory, name):
  """A step of a language model in bfloat16, with the recipe's rematerialisation."""
  rows, frames = sizes.windows, _padded(sizes.window_frames)
  if name == "valle":
    rows, both = sizes.utterances, sizes.window_frames + sizes.symbols
    frames = *_padded(both), *_padded(both + 1)
  task = SlmTask(training.language_model(sizes, name, "products"), steps=100_000)
  program = _step(task, _shapes(training.language_batch(sizes, rows)))
  return program._replace(frames=frames)


def _padded(frames):
  """Returns a length, and what the kernels of GPUs and TPUs make of it.

  Up to a tile of a TPU's kernel, that is no array of all frames but of a tile.
  """
  whole = -(-frames // 128) * 128
  return frames, -(-frames // 8) * 8, *([whole] if whole > _TILE else [])


def _step(task, batch):
  state = jax.eval_shape(task.init, jax.random.key(0), batch)
  return Program(task.train_step, (state, batch), replaced=(0,))


def speak_first(sizes, memory):
  """Codebook 0 of VALL-E, frame after frame, all in one program."""
  model, frames = training.language_model(sizes, "valle"), sizes.spoken_frames
  sampler = ArSampler(frames, min_frames=frames, **_RATES)
  params, key_B, text = _spoken(sizes, model)
  prompt = incremental.check_prompt(None, len(key_B), model.spec.num_codebooks)
  pace = incremental.known_pace(model, prompt[1], None)
  function = functools.partial(ar_frames.speak, model.ar, sampler)
  args = params["ar"], key_B, text, _shapes(prompt), _shapes(pace)
  known = sizes.symbols + 1
  return Program(function, args, frames=_padded(known))


def speak_others(sizes, memory):
  """The other codebooks of VALL-E, one after another in one program."""
  model, frames = training.language_model(sizes, "valle"), sizes.spoken_frames
  if model.width in _padded(sizes.symbols + frames):
    frames -= 128  # so that arrays of all frames by all can be told by their shapes
  params, key_B, text = _spoken(sizes, model)
  rows = len(key_B)
  prompt = incremental.check_prompt(None, rows, model.spec.num_codebooks)
  codes_BxTxK = jnp.zeros((rows, frames, model.spec.num_codebooks), jnp.int32)
  mask_BxT = jnp.ones((rows, frames), bool)
  text_mask_BxS = jnp.ones(text[1].shape, bool)
  given = prompt, (codes_BxTxK, mask_BxT), own_pace(text_mask_BxS, mask_BxT)
  function = functools.partial(nar.fill_levels, model.nar, nar.Draw(0.0, 0, 1.0))
  args = params["nar"], key_B, text, *_shapes(given)
  return Program(function, args, frames=_padded(sizes.symbols + frames))


def _spoken(sizes, model):
  """Returns shapes of the parameters, a key a row, and the texts."""
  batch = training.language_batch(sizes, sizes.spoken[-1])
  params = jax.eval_shape(model.init_params, jax.random.key(0), batch)
  key_B = jax.eval_shape(lambda: sampling.row_keys(jax.random.key(0), sizes.spoken[-1]))
  return params, key_B, _shapes((batch["text_BxS"], batch["text_mask_BxS"]))


def unmask(sizes, memory):
  """All codes of the masked model, iteration after iteration in one program."""
  model = training.language_model(sizes, "maskgit")
  batch = training.language_batch(sizes, sizes.spoken[-1])
  params = jax.eval_shape(model.init_params, jax.random.key(0), batch)
  sampler = decode.IterativeSampler(steps=(sizes.unmasking_steps,))
  function = functools.partial(decode.iterative, model, sampler=sampler)
  tokens = _shapes((batch["semantic_BxT"], batch["mask_BxT"]))
  args = params, jax.eval_shape(lambda: jax.random.key(0)), *tokens
  return Program(function, args, frames=_padded(sizes.window_frames))


def tokenise(sizes, memory, name):
  """The codes of a batch of clips, of as many as a device with its memory is given."""
  codec = make_preset(sizes.codecs[name])
  hop, rate = codec.spec.hop, codec.sample_rate
  frames = bucket(int(sizes.clip_seconds[1] * rate) // hop)
  rows = batch_rows(hop, samples_for(memory))(frames)
  variables = variable_shapes(codec)
  fold = functools.partial(fold_for_inference, codec)
  variables = {**variables, "params": jax.eval_shape(fold, variables["params"])}
  audio_BxNxC = jax.ShapeDtypeStruct((rows, frames * hop, 1), jnp.float32)
  length_B = jax.ShapeDtypeStruct((rows,), jnp.int32)
  function = functools.partial(codec.apply, method="encode")
  return Program(function, (variables, audio_BxNxC, length_B), float32=True)


def fused_codes(sizes, memory):
  """EnCodec's codes by the kernel that holds no scores."""
  quantizer = make_preset(sizes.codecs["encodec"]).quantizer
  z_BxTxD = jax.ShapeDtypeStruct((1, sizes.rvq_frames, quantizer.width), jnp.float32)
  book = jax.ShapeDtypeStruct((quantizer.codebook_size, quantizer.width), jnp.float32)
  books = [book] * quantizer.num_codebooks
  return Program(residual_kernel.fused, (z_BxTxD, books))


def _shapes(tree):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


# By name: what makes a program for sizes and the bytes of a device's memory.
PROGRAMS = {
  "rvq kernel": fused_codes,
  "decode maskgit": unmask,
  "decode valle first": speak_first,
  "decode valle others": speak_others,
  "train maskgit": functools.partial(train_language_model, name="maskgit"),
  "train valle": functools.partial(train_language_model, name="valle"),
  "tokenise dac": functools.partial(tokenise, name="dac"),
  "tokenise encodec": functools.partial(tokenise, name="encodec"),
  "train encodecq_vocos": functools.partial(train_codec, name="encodecq_vocos"),
  "train encodec": functools.partial(train_codec, name="encodec"),
  "train dac": functools.partial(train_codec, name="dac"),
}


def maker(name):
  """Returns what makes a program: one of `PROGRAMS`, or the training of any codec."""
  kind, _, codec = name.partition(" ")
  if name not in PROGRAMS and kind == "train":
    return functools.partial(train_codec, name=codec)
  return PROGRAMS[name]
