"""Optimisers and their learning rates."""

import inspect

import optax

from jaxcodec.build.fields import (
  Config,
  ConfigError,
)


def make_adamw(settings: Config, path: str) -> optax.GradientTransformation:
  """AdamW under a linear warm-up, exponential decay and a clipped global norm."""
  known = inspect.signature(_schedule).parameters.keys() | {
    *("b1", "b2", "weight_decay", "clip_norm")
  }
  if unknown := set(settings) ^ known:
    raise ConfigError(f"{path} must have the fields {sorted(known)}, see {unknown}")
  rate = _schedule(**{n: settings[n] for n in inspect.signature(_schedule).parameters})
  betas = {name: settings[name] for name in ("b1", "b2", "weight_decay")}
  clip = optax.clip_by_global_norm(settings["clip_norm"])
  return optax.chain(clip, optax.adamw(rate, **betas))


def _schedule(learning_rate: float, warmup_steps: int, gamma: float) -> optax.Schedule:
  decay = optax.exponential_decay(learning_rate, 1, gamma)
  if not warmup_steps:
    return decay
  rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
  return optax.join_schedules([rise, decay], [warmup_steps])
