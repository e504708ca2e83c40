"""Trains a speech language model: AdamW, a schedule, averaged weights."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxcodec.tasks.accumulation import is_float, mean_over_parts
from jaxcodec.types import Batch, Metrics, SpeechLanguageModel

# The cosine ends at this share of the peak.
_LAST_RATE = 0.05


@flax.struct.dataclass
class SlmState:
  """Train state of a speech language model.

  Attributes:
    step: int32 scalar, updates done.
    params: the weights.
    opt_state: optax's.
    ema: moving average of the weights, None without.
    rng: uint32 data of the key that every step's randomness is derived from.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  ema: Any
  rng: jax.Array


class SlmTask:
  """A speech language model with its optimiser; see `types.Task`.

  Args:
    model: see `types.SpeechLanguageModel`.
    steps: updates that the schedule is for.
    learning_rate: its peak.
    warmup_steps: updates of linear rise before the cosine.
    b1, b2: AdamW's decay rates.
    weight_decay: on matrices; not on embeddings and norms.
    clip_norm: bound on the gradient's global norm.
    ema_decay: of the weights' moving average; 0 for none.
    accumulate: parts that a batch is computed in, one after another, each with draws
      of its own; see `accumulation`.

  Raises:
    ValueError: the warm-up is not shorter than the training.
  """

  def __init__(
    self,
    model: SpeechLanguageModel,
    *,
    steps: int,
    learning_rate: float = 3e-4,
    warmup_steps: int = 1000,
    b1: float = 0.9,
    b2: float = 0.98,
    weight_decay: float = 0.01,
    clip_norm: float = 1.0,
    ema_decay: float = 0.999,
    accumulate: int = 1,
  ):
    if not 0 <= warmup_steps < steps:
      raise ValueError(
        f"warmup_steps must be below steps ({steps}), got {warmup_steps}"
      )
    self.model = model
    self._ema_decay, self._accumulate = ema_decay, accumulate
    self._schedule = optax.warmup_cosine_decay_schedule(
      0.0, learning_rate, warmup_steps, steps, _LAST_RATE * learning_rate
    )
    self._optimizer = optax.chain(
      optax.clip_by_global_norm(clip_norm),
      optax.adamw(
        self._schedule, b1=b1, b2=b2, weight_decay=weight_decay, mask=_decayed
      ),
    )

  def init(self, rng: jax.Array, batch: Batch) -> SlmState:
    """Makes a fresh state; of the batch only the shapes matter. Jittable."""
    init_rng, step_rng = jax.random.split(rng)
    params = self.model.init_params(init_rng, batch)
    return SlmState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt_state=self._optimizer.init(params),
      ema=jax.tree.map(jnp.copy, params) if self._ema_decay else None,
      rng=jax.random.key_data(step_rng),
    )

  def start_from(self, state: SlmState, variables: dict[str, Any]) -> SlmState:
    """Puts weights into a fresh state, also as their average."""
    params = variables["params"]
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return state.replace(params=params, ema=ema)

  def train_step(self, state: SlmState, batch: Batch) -> tuple[SlmState, Metrics]:
    """Updates the weights."""
    rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    grads, metrics = self._gradient(state.params, rng, batch)
    updates, opt_state = self._optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = metrics | {
      "grad_norm": optax.tree.norm(grads),
      "learning_rate": jnp.asarray(self._schedule(state.step)),
    }
    state = state.replace(
      step=state.step + 1,
      params=params,
      opt_state=opt_state,
      ema=self._averaged(state, params),
    )
    return state, metrics

  def _gradient(self, params, rng, batch):
    grad_fn = jax.grad(self.model.loss, has_aux=True)
    if self._accumulate == 1:
      return grad_fn(params, rng, batch)

    # The losses are means over frames, of which a part may have few or none.
    each = jnp.maximum(batch["mask_BxT"].sum(), 1) / self._accumulate

    def of_part(carry, part, number):
      found = grad_fn(params, jax.random.fold_in(rng, number), part)
      share = part["mask_BxT"].sum() / each
      scaled = jax.tree.map(
        lambda x: x * share.astype(x.dtype) if is_float(x) else x, found
      )
      return carry, scaled

    return mean_over_parts(of_part, (), batch, self._accumulate)[1]

  def eval_step(self, state: SlmState, batch: Batch) -> Metrics:
    """Evaluates the averaged weights, or the weights without an average."""
    return self.model.evaluate(self.inference_variables(state)["params"], batch)

  def inference_variables(self, state: SlmState) -> dict[str, Any]:
    """Returns {"params": ...}: the averaged weights, or the weights without one."""
    return {"params": state.params if state.ema is None else state.ema}

  def _averaged(self, state, params):
    if state.ema is None:
      return None
    # The average follows faster at first, to forget the initial weights.
    decay = jnp.minimum(self._ema_decay, (1 + state.step) / (10 + state.step))
    return optax.incremental_update(params, state.ema, 1 - decay)


def _decayed(params):
  matrices = ("kernel", "head")
  return jax.tree_util.tree_map_with_path(
    lambda path, _: path[-1].key in matrices, params
  )
