"""Turns one part of a config into one object; errors name the field."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from jaxcodec.nn import remat
from jaxcodec.registry import Registry
from jaxcodec.types import TokenSpec

_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
# Integer fields of any part that must be at least 1.
_POSITIVE = {
  "width",
  "nar_width",
  "nar_depth",
  "nar_draws",
  "depth",
  "heads",
  "mlp_width",
  "latent_dim",
  "channels",
  "compress",
  "num_codebooks",
  "codebook_size",
  "codebook_dim",
  "kmeans_iters",
  "period_width",
  "band_width",
}

Config = Mapping[str, Any]


class ConfigError(ValueError):
  """A bad value of a config field, which the message names."""


def named(parts: Registry[Callable], config: Config, path: str, **given) -> Any:
  """Makes the part that `config[...].name` names, from the other fields there.

  Args:
    parts: to choose from.
    config: has the part's fields under the last name of `path`.
    path: of the part in the whole config, e.g. `codec.encoder`.
    given: further arguments of the part.

  Raises:
    ConfigError: naming the field.
  """
  fields = dict(config[path.rsplit(".", 1)[-1]])
  part = parts.lookup(fields.pop("name", None))
  return call(part, fields, path, **given)


def call(function: Callable, fields: dict[str, Any], path: str, **given) -> Any:
  """Calls `function(**fields, **given)`; what it raises becomes a ConfigError.

  Args:
    function: a class, or a function whose parameters are the fields.
    fields: of the config; lists become tuples, `dtype` a JAX type.
    path: of the fields in the config, for errors.
    given: arguments that the config cannot set.
  """
  known = inspect.signature(function).parameters.keys() - given.keys()
  if unknown := sorted(set(fields) - known):
    names = ", ".join(f"{path}.{name}" for name in unknown)
    raise ConfigError(f"{names}: unknown; known: {sorted(known - {'parent', 'name'})}")
  for name, value in fields.items():
    if isinstance(value, int) and not isinstance(value, bool) and name in _POSITIVE:
      positive(fields, path, name)
  fields = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
  if "dtype" in fields:
    fields = {**fields, "dtype": dtype(fields["dtype"], f"{path}.dtype")}
  try:
    return function(**fields, **given)
  except (TypeError, ValueError) as error:
    raise ConfigError(f"{path}: {error}") from error


def positive(config: Mapping[str, Any], path: str, name: str) -> int:
  """Returns `config[name]`, checked to be an integer of at least 1."""
  if name not in config:
    raise ConfigError(f"{path}.{name} is missing")
  value = config[name]
  if not isinstance(value, int) or value < 1:
    raise ConfigError(f"{path}.{name} must be a positive integer, got {value!r}")
  return value


def remat_mode(config: Mapping[str, Any], path: str) -> str:
  """Returns what `config["remat"]` asks to compute again; see `nn.remat.mode`."""
  try:
    return remat.mode(config.get("remat", "none"))
  except ValueError as error:
    raise ConfigError(f"{path}.{error}") from error


def crop_samples(config: Mapping[str, Any], stage: str, spec: TokenSpec) -> int:
  """Returns `config[stage].crop_seconds` in samples, a whole number of frames."""
  return whole_frames(config, stage, "crop_seconds", spec) * spec.hop


def whole_frames(
  config: Mapping[str, Any], stage: str, field: str, spec: TokenSpec
) -> int:
  """Converts `config[stage][field]` from seconds to frames, rounded down.

  Raises:
    ConfigError: less than one.
  """
  seconds = config[stage][field]
  frames = math.floor(seconds * spec.sample_rate / spec.hop)
  if frames < 1:
    raise ConfigError(
      f"{stage}.{field} must give at least one frame of {spec.hop} samples,"
      f" got {seconds} s"
    )
  return frames


def dtype(name: str, path: str) -> Any:
  """Returns the JAX type of a config's name for it."""
  if name not in _DTYPES:
    raise ConfigError(f"{path} must be one of {sorted(_DTYPES)}, got {name!r}")
  return _DTYPES[name]
