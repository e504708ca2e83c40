"""The task of each training stage and the shapes of its batches, without any data."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.build.check import Models
from jaxcodec.build.fields import crop_samples
from jaxcodec.build.slm import make_batches
from jaxcodec.dry_run.step_cost import Shapes
from jaxcodec.types import Task

Config = Mapping[str, Any]
Training = tuple[Task, Shapes]


def training(config: Config, models: Models, name: str, parallel: int) -> Training:
  """Returns the task of a stage and the shapes of its whole batch.

  Args:
    config: plain dicts.
    models: what it describes.
    name: of the stage, one of `STAGES`.
    parallel: devices that share a batch; whole utterances come in multiples of them.
  """
  return STAGES[name](config, models, parallel)


def _codec(config: Config, models: Models, _: int) -> Training:
  task = models.codec_task
  rows = config["codec_train"]["batch_size"]
  samples = crop_samples(config, "codec_train", task.codec.spec)
  return task, {
    "audio_BxN": jax.ShapeDtypeStruct((rows, samples), jnp.float32),
    "length_B": _integers(rows),
    "index_B": _integers(rows),
  }


def _slm(config: Config, models: Models, parallel: int) -> Training:
  return models.slm_task, make_batches(config).shapes(config, models.spec, parallel)


STAGES = {"codec": _codec, "slm": _slm}


def _integers(*shape: int) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, jnp.int32)
