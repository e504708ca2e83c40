"""Learning rates follow the training step."""

import jax
import numpy as np

from jaxcodec.build.codec import make_codec_task
from jaxcodec.build.optimizers import make_adamw
from jaxcodec.recipes import experiment

SETTINGS = dict(
  learning_rate=1e-2,
  warmup_steps=3,
  gamma=0.9,
  b1=0.8,
  b2=0.99,
  weight_decay=0.0,
  clip_norm=1e3,
)


def _moves(opt, count):
  """Returns how far updates move a weight whose gradient is one: by their rates."""
  params = {"w": np.zeros(1, np.float32)}
  state, moves = opt.init(params), []
  update = jax.jit(opt.update)
  for _ in range(count):
    updates, state = update({"w": np.ones(1, np.float32)}, state, params)
    moves.append(-float(updates["w"][0]))
  return moves


def test_an_optimiser_that_starts_late_has_the_rates_of_one_that_did_not():
  early, late = make_adamw(SETTINGS, "x"), make_adamw(SETTINGS, "x", first_step=5)
  expected = [1e-2 * min(step / 3, 0.9 ** (step - 3)) for step in range(5, 9)]
  np.testing.assert_allclose(_moves(late, 4), expected, rtol=1e-4)
  np.testing.assert_allclose(_moves(early, 9)[5:], expected, rtol=1e-4)


def test_discriminators_that_start_late_have_the_rate_of_the_codec():
  config = experiment("runlocal", codec_name="dac", slm="maskgit")
  train = config.codec_train
  assert train.optimizer.learning_rate == train.disc_optimizer.learning_rate
  decay = train.optimizer.gamma ** (
    train.adversarial_start - train.optimizer.warmup_steps
  )
  task = make_codec_task(config)
  expected = [train.optimizer.learning_rate * decay]
  np.testing.assert_allclose(_moves(task.disc_opt, 1), expected, rtol=1e-4)
