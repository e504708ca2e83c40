"""Whether a config can be built, found out before anything is computed."""

import jax
import jax.numpy as jnp

from jaxcodec.build.codec import make_codec_task
from jaxcodec.build.fields import Config, ConfigError, crop_samples, positive
from jaxcodec.build.slm import make_sampler, make_slm_task, semantic_settings
from jaxcodec.build.text import make_vocabulary


def check(config: Config) -> None:
  """Builds everything, without weights, so that what cannot be fails at once.

  Raises:
    ConfigError: naming the field.
  """
  for stage in ("codec_train", "slm_train"):
    for name in ("steps", "log_every", "eval_every", "checkpoint_every"):
      positive(config[stage], stage, name)
  if (workers := config["data"]["workers"]) < 0:
    raise ConfigError(f"data.workers must not be negative, got {workers}")
  positive(config["codec_train"], "codec_train", "batch_size")
  for stage in ("generate", "evaluate"):
    positive(config[stage], stage, "num_utterances")
  spec = make_codec_task(config).codec.spec
  make_slm_task(config, spec, make_vocabulary(config))
  semantic_settings(config, spec)
  make_sampler(config)


def check_shapes(config: Config) -> None:
  """Traces the codec and its discriminators on a crop, without computing anything.

  Raises:
    ConfigError: a crop does not fit them.
  """
  task = make_codec_task(config)
  samples = crop_samples(config, "codec_train", task.codec.spec)
  audio_BxN = jax.ShapeDtypeStruct((1, samples), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  try:
    jax.eval_shape(task.init, key, {"audio_BxN": audio_BxN})
  except (TypeError, ValueError) as error:
    raise ConfigError(
      f"codec, codec_train: a crop of {samples} samples does not fit the codec and its"
      f" discriminators: {error}"
    ) from error
