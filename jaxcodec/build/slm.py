"""Turns `config.slm`, `slm_train`, `semantic` and `generate` into a language model."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxcodec.build.fields import Config, ConfigError, call, positive, remat_mode
from jaxcodec.build.language_models import language_model
from jaxcodec.build.slm_batches import Batches
from jaxcodec.data.text import Vocabulary
from jaxcodec.types import SpeechLanguageModel, TokenSpec

# Fields of slm_train that every model has; the others are those of its batches.
_FIELDS = {
  "steps",
  "optimizer",
  "ema_decay",
  "accumulate",
  "init_from",
  "codebook_start",
  "log_every",
  "eval_every",
  "eval_batches",
  "checkpoint_every",
  "keep",
  "best",
  "skip_nonfinite",
  "profile_steps",
}


def make_slm(
  config: Config, spec: TokenSpec, vocabulary: Vocabulary | None = None
) -> SpeechLanguageModel:
  """Makes the speech language model that `config.slm` describes.

  Args:
    config: of an experiment.
    spec: of the codec.
    vocabulary: of `config.text`, for a model that reads text.

  Raises:
    ConfigError: naming the field.
  """
  kind, fields = language_model(config), dict(config["slm"])
  del fields["name"]
  if "heads" in fields:
    positive(fields, "slm", "heads")
    for width in ("width", "nar_width"):
      # Rotary positions turn pairs of a head's channels.
      if (fields.get(width) or 0) % (2 * fields["heads"]):
        raise ConfigError(
          f"slm.{width} ({fields[width]}) must be a multiple of twice slm.heads"
          f" ({fields['heads']})"
        )
  if "remat" in fields:
    fields["remat"] = remat_mode(fields, "slm")
  size = kind.condition.size(config, vocabulary)
  return call(kind.model, fields, "slm", spec=spec, **size)


def make_slm_task(
  config: Config, spec: TokenSpec, vocabulary: Vocabulary | None = None
) -> Any:
  """Makes the training of the speech language model; see `make_slm`."""
  model, train = make_slm(config, spec, vocabulary), config["slm_train"]
  make_batches(config).check(spec)
  settings = dict(train["optimizer"], steps=train["steps"])
  settings |= {name: train[name] for name in ("ema_decay", "accumulate")}
  task = language_model(config).task
  return call(task, settings, "slm_train.optimizer", model=model)


def make_batches(config: Config) -> Batches:
  """Makes the batches that `config.slm_train` describes, of `slm.name`'s kind.

  Raises:
    ConfigError: a field too many or too few.
  """
  train, name = config["slm_train"], config["slm"]["name"]
  kind = language_model(config).batches
  own = [field.name for field in dataclasses.fields(kind)]
  known = _FIELDS | set(own)
  # Configs of earlier versions lack it.
  train = {"codebook_start": False, **train}
  if unknown := sorted(train.keys() - known):
    raise ConfigError(
      f"slm_train.{unknown[0]}: unknown for {name!r}; known: {sorted(known)}"
    )
  if missing := sorted(known - train.keys()):
    raise ConfigError(f"slm_train.{missing[0]} is missing, which {name!r} needs")
  return kind(**{field: train[field] for field in own})


def make_sampler(config: Config) -> Any:
  """Makes the sampler of `config.generate.sampler`, of `slm.name`'s kind."""
  sampler = dict(config["generate"]["sampler"])
  return call(language_model(config).sampler, sampler, "generate.sampler")


def param_shapes(model: SpeechLanguageModel) -> Any:
  """Returns a model's parameters as nested dicts of `ShapeDtypeStruct`s."""
  return jax.eval_shape(lambda: fresh_params(model, jax.random.key(0)))


def fresh_params(model: SpeechLanguageModel, rng: jax.Array) -> Any:
  """Returns a model's random parameters."""
  ids, mask = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1), bool)
  batch = {
    "codes_BxTxK": jnp.zeros((1, 1, model.spec.num_codebooks), jnp.int32),
    "mask_BxT": mask,
    "semantic_BxT": ids,
    "text_BxS": ids,
    "text_mask_BxS": mask,
  }
  return model.init_params(rng, batch)
