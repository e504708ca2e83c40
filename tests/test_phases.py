"""Steps without branches: phases that the host chooses, starts outside of the step."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_toy
from test_configs import OF_EACH_CODEC, tiny
from train_toy import Data, bits, fit

from jaxcodec.build.codec import make_codec_task
from jaxcodec.pipeline.experiment import plain
from jaxcodec.train.metrics_file import read_metrics
from jaxcodec.train.step import phases

LATER = 4


@dataclasses.dataclass(frozen=True)
class Phased(train_toy.Task):
  """The toy with a bias from its first batch, whose weights learn in a second phase."""

  learns: bool = False

  def begin(self, state, batch):
    waiting = float(state.params["bias"][0]) == 0
    bias = jnp.mean(batch["y_B"])[None]
    params = {**state.params, "bias": bias}
    return state.replace(params=params) if waiting else state

  def phases(self):
    return {0: self, LATER: dataclasses.replace(self, learns=True)}

  def train_step(self, state, batch):
    new, metrics = super().train_step(state, batch)
    if not self.learns:
      new = state.replace(step=new.step)
    return new, {**metrics, "phase": jnp.float32(self.learns)}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  folder = tmp_path_factory.mktemp("straight")
  return fit(folder, 10, task=Phased()), read_metrics(folder)


def test_each_phase_is_compiled_and_runs_from_its_first_update(straight):
  _, records = straight
  found = [record["phase"] for record in records if "phase" in record]
  assert found == [0.0] * LATER + [1.0] * (10 - LATER)
  compiled = [r["step"] for r in records if "compile_seconds" in r]
  assert compiled == [1, LATER + 1]


@pytest.mark.parametrize("stop", [LATER - 1, LATER, LATER + 2])
def test_a_run_that_goes_on_is_in_its_phase(straight, tmp_path, stop):
  fit(tmp_path, stop, task=Phased())
  assert bits(fit(tmp_path, 10, task=Phased())) == bits(straight[0])


def test_a_skipped_step_delays_a_phase_as_if_it_had_not_been(tmp_path):
  class Without(Data):
    def __init__(self):
      super().__init__(spoil=self.insert)

    def insert(self, number, _):
      batch = train_toy.make_batch(number - (number > 2))
      if number == 2:
        batch["x_BxD"][0] = np.nan
      return batch

  options = dict(task=Phased(), skip_nonfinite=1)  # another program than without
  skipped = fit(tmp_path / "skipped", 11, data=Without(), **options)
  assert bits(skipped) == bits(fit(tmp_path / "straight", 10, **options))


def test_the_beginning_sees_the_first_batch_once(tmp_path):
  first = fit(tmp_path, 1, task=Phased())
  expected = train_toy.make_batch(0)["y_B"].mean()
  np.testing.assert_allclose(first.params["bias"][0], expected, rtol=1e-6)
  again = fit(tmp_path, 2, task=Phased())
  np.testing.assert_array_equal(again.params["bias"], first.params["bias"])


@pytest.mark.parametrize("path", OF_EACH_CODEC, ids=lambda p: p.stem)
def test_no_phase_of_a_codec_has_a_condition(path):
  task = make_codec_task(plain(tiny(path)))
  batch = {"audio_BxN": jax.ShapeDtypeStruct((2, 1600), jnp.float32)}
  state = jax.eval_shape(task.init, jax.eval_shape(lambda: jax.random.key(0)), batch)
  for phase in phases(task).values():
    program = jax.jit(phase.train_step).lower(state, batch).as_text()
    assert not re.search(r"stablehlo\.(case|if)\b", program)
  if len(phases(task)) > 1:
    program = jax.jit(task.train_step).lower(state, batch).as_text()
    assert re.search(r"stablehlo\.(case|if)\b", program)
