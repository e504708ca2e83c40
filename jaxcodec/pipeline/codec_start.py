"""The variables that a codec's training begins with."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from jaxcodec.build.fields import whole_frames
from jaxcodec.codecs.shapes import silence
from jaxcodec.pipeline import train_options
from jaxcodec.pipeline.experiment import Experiment
from jaxcodec.tasks import magnitude_start

# Makes endless batches of so many rows.
MakeCrops = Callable[[int], Iterable[dict[str, Any]]]


def initial_variables(
  experiment: Experiment, make_crops: MakeCrops
) -> dict[str, Any] | None:
  """Returns the variables of `codec_train.init_from`, or fits those of the start.

  Where `init_from` gives frozen parts alone, the start is that of the decoder.

  Args:
    experiment: of the codec.
    make_crops: of training audio, for the start: the same in all processes.

  Returns:
    None where `codec_train` has neither: training then begins with random ones.

  Raises:
    ConfigError: naming the field.
  """
  settings = experiment.config["codec_train"]
  found = train_options.initial_variables(experiment, "codec")
  if not settings.get("start") or (found is not None and not settings.get("freeze")):
    return found
  codec, spec = experiment.models.codec, experiment.spec
  frames, iterations = (settings["start"][name] for name in ("frames", "iterations"))
  crop_frames = whole_frames(experiment.config, "codec_train", "crop_seconds", spec)
  rows = -(-frames // crop_frames)
  audio_BxN = np.asarray(next(iter(make_crops(rows)))["audio_BxN"])
  key = experiment.key("codec_start")
  variables = jax.jit(codec.init)(jax.random.fold_in(key, 0), silence(codec))
  if found is not None:
    variables = {
      name: {**part, **found.get(name, {})} for name, part in variables.items()
    }
    return jax.device_get(magnitude_start.start_decoder(codec, variables, audio_BxN))
  started = magnitude_start.start(
    codec,
    variables,
    jax.random.fold_in(key, 1),
    audio_BxN,
    batch_frames=settings["batch_size"] * crop_frames // settings["accumulate"],
    iterations=iterations,
  )
  return jax.device_get(started)
