"""Whether a config can be built, found out before anything is computed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcodec.build.codec import make_codec, make_codec_task
from jaxcodec.build.fields import Config, ConfigError, crop_samples, positive
from jaxcodec.build.semantic import semantic_settings
from jaxcodec.build.slm import make_sampler, make_slm_task
from jaxcodec.build.text import make_vocabulary
from jaxcodec.codecs.codec import Codec
from jaxcodec.data.text import Vocabulary
from jaxcodec.tasks.codec_gan import CodecGanTask
from jaxcodec.tasks.codec_magnitude import CodecMagnitudeTask
from jaxcodec.types import TokenSpec

_MOST_CODES = 1 << 16


class Models(NamedTuple):
  """What a config describes, without weights.

  Attributes:
    codec: to encode and decode with.
    codec_task: its training.
    vocabulary: the symbols of texts, None where the config has no `text`.
    slm_task: the training of the language model, which is its `model`.
    sampler: how the language model generates.
  """

  codec: Codec
  codec_task: CodecGanTask | CodecMagnitudeTask
  vocabulary: Vocabulary | None
  slm_task: Any
  sampler: Any

  @property
  def spec(self) -> TokenSpec:
    """The codec's."""
    return self.codec.spec


def check(config: Config) -> Models:
  """Builds everything that a config describes, so that what cannot be fails at once.

  Raises:
    ConfigError: naming the field.
  """
  for stage in ("codec_train", "slm_train"):
    for name in ("log_every", "eval_every", "checkpoint_every"):
      positive(config[stage], stage, name)
  if not _is_given(config["codec_train"]):
    positive(config["codec_train"], "codec_train", "steps")
  positive(config["slm_train"], "slm_train", "steps")
  if (workers := config["data"]["workers"]) < 0:
    raise ConfigError(f"data.workers must not be negative, got {workers}")
  positive(config["codec_train"], "codec_train", "batch_size")
  for stage in ("generate", "evaluate"):
    positive(config[stage], stage, "num_utterances")
  positive(config["generate"], "generate", "batch_size")
  codec = make_codec(config)
  _check_codec(codec)
  codec_task = make_codec_task(config, codec)
  vocabulary = make_vocabulary(config)
  slm_task = make_slm_task(config, codec.spec, vocabulary)
  semantic_settings(config, codec.spec)
  sampler, books = make_sampler(config), codec.spec.num_codebooks
  if len(getattr(sampler, "steps", ())) > books:
    raise ConfigError(
      f"generate.sampler.steps has {len(sampler.steps)} entries for {books} codebooks"
    )
  _check_sampler(slm_task.model, sampler)
  return Models(codec, codec_task, vocabulary, slm_task, sampler)


def _check_sampler(model: Any, sampler: Any) -> None:
  """Raises ConfigError if the model can't be sampled as the config says."""
  try:
    getattr(model, "check_sampler", lambda _: None)(sampler)
  except ValueError as error:
    raise ConfigError(f"generate.sampler: {error}") from error


def _check_codec(codec: Codec) -> None:
  """Raises ConfigError for a codec that encodes and decodes, but not in experiments."""
  if codec.num_channels > 1 or codec.normalize:
    raise ConfigError(
      "codec: experiments are of mono codecs that leave the level as it is; got"
      f" num_channels={codec.num_channels}, normalize={codec.normalize}"
    )
  if codec.spec.codebook_size > _MOST_CODES:
    raise ConfigError(
      f"codec.quantizer: a codebook has at most {_MOST_CODES} codes, as tokens are kept"
      f" in 16 bits; got {codec.spec.codebook_size}"
    )


def _is_given(train: Config) -> bool:
  """Whether a codec's weights to begin with are taken as they are, in no steps."""
  return train["steps"] == 0 and bool(train["init_from"] or train.get("start"))


def check_shapes(config: Config, task: CodecGanTask | CodecMagnitudeTask) -> None:
  """Traces the codec and its discriminators on a crop, without computing anything.

  Raises:
    ConfigError: a crop does not fit them.
  """
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
