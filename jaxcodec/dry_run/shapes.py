"""The task of each training stage and the shapes of its batches, without any data."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.build.codec import make_codec, make_codec_task
from jaxcodec.build.fields import crop_samples, whole_frames
from jaxcodec.build.slm import make_slm_task, reads_text
from jaxcodec.build.text import make_vocabulary
from jaxcodec.data.text.vocabulary import wrapped
from jaxcodec.dry_run.step_cost import Shapes
from jaxcodec.types import Task, TokenSpec

Config = Mapping[str, Any]
Training = tuple[Task, Shapes]


def training(config: Config, name: str, parallel: int) -> Training:
  """Returns the task of a stage and the shapes of its whole batch.

  Args:
    config: plain dicts.
    name: of the stage, one of `STAGES`.
    parallel: devices that share a batch; whole utterances come in multiples of them.
  """
  return STAGES[name](config, parallel)


def _codec(config: Config, _: int) -> Training:
  task = make_codec_task(config)
  rows = config["codec_train"]["batch_size"]
  samples = crop_samples(config, "codec_train", task.codec.spec)
  return task, {
    "audio_BxN": jax.ShapeDtypeStruct((rows, samples), jnp.float32),
    "length_B": _integers(rows),
    "index_B": _integers(rows),
  }


def _slm(config: Config, parallel: int) -> Training:
  """Windows of tokens, or utterances with the longest audio and text allowed."""
  spec, train = make_codec(config).spec, config["slm_train"]
  vocabulary = make_vocabulary(config)
  task = make_slm_task(config, spec, vocabulary)
  if not reads_text(config):
    frames = whole_frames(config, "slm_train", "crop_seconds", spec)
    return task, _tokens(train["batch_size"], frames, spec)
  frames = whole_frames(config, "slm_train", "max_seconds", spec)
  rows = train["frames_per_batch"] // (frames * parallel) * parallel
  symbols = config["text"]["max_symbols"] + len(wrapped())
  return task, {
    **_tokens(rows, frames, spec),
    "text_BxS": _integers(rows, symbols),
    "text_mask_BxS": jax.ShapeDtypeStruct((rows, symbols), jnp.bool_),
  }


STAGES = {"codec": _codec, "slm": _slm}


def _tokens(rows: int, frames: int, spec: TokenSpec) -> Shapes:
  return {
    "codes_BxTxK": _integers(rows, frames, spec.num_codebooks),
    "semantic_BxT": _integers(rows, frames),
    "mask_BxT": jax.ShapeDtypeStruct((rows, frames), jnp.bool_),
    "index_B": _integers(rows),
  }


def _integers(*shape: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.int32)
