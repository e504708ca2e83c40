"""Optimisers and their learning rates."""

import inspect

import optax

from jaxcodec.build.fields import Config, ConfigError

_ADAMW = ("b1", "b2", "weight_decay")


def make_adamw(
  settings: Config, path: str, first_step: int = 0
) -> optax.GradientTransformation:
  """Makes AdamW with a warm-up, a decay and a clipped global norm.

  Args:
    settings: all of learning_rate, warmup_steps, gamma (decay a step), b1, b2,
      weight_decay and clip_norm; if it has cosine_steps, the rate also falls by half a
      cosine, to zero at that step.
    path: of the settings in the config, for errors.
    first_step: training step of the first update. Rates are of the training step, so
      that networks which start late have the rates of those that they train with.

  Raises:
    ConfigError: a field too many or too few.
  """
  rates = set(inspect.signature(_schedule).parameters)
  known = {*rates, *_ADAMW, "clip_norm"}
  if unknown := (set(settings) | {"cosine_steps"}) ^ known:
    raise ConfigError(f"{path} must have the fields {sorted(known)}, see {unknown}")
  rate = _schedule(**{name: settings[name] for name in rates & set(settings)})
  clock = lambda count: rate(count + first_step)  # noqa: E731
  adamw = optax.adamw(clock, **{name: settings[name] for name in _ADAMW})
  return optax.chain(optax.clip_by_global_norm(settings["clip_norm"]), adamw)


def _schedule(
  learning_rate: float,
  warmup_steps: int,
  gamma: float,
  cosine_steps: int | None = None,
) -> optax.Schedule:
  decay = optax.exponential_decay(learning_rate, 1, gamma)
  if cosine_steps:
    left = max(1, cosine_steps - warmup_steps)
    decay = _product(decay, optax.cosine_decay_schedule(1.0, left))
  if not warmup_steps:
    return decay
  rise = optax.linear_schedule(0.0, learning_rate, warmup_steps)
  return optax.join_schedules([rise, decay], [warmup_steps])


def _product(a: optax.Schedule, b: optax.Schedule) -> optax.Schedule:
  return lambda count: a(count) * b(count)
