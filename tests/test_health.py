"""Named warnings, each on lines of metrics made for it."""

import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from jaxcodec import losses
from jaxcodec.train import health


@pytest.fixture
def said(monkeypatch):
  texts = []
  monkeypatch.setattr(logging, "warning", lambda text, *a: texts.append(text % a))
  return texts


def _watch(symptom, *lines, every=50):
  watch = health.Watch([symptom], every)
  for step, values in enumerate(lines):
    watch(step, values)
    watch(step, {"eval/perplexity": [1.0, 1.0], "eval/mel": 2.0})


def _books(*perplexities):
  return [{"perplexity": np.array([400.0, value])} for value in perplexities]


def test_a_collapse_is_one_warning_with_its_figures(said):
  _watch(health.codebook_collapse(1024, 3), *_books(9.0, 9.0, 300.0, 9.0, 9.0))
  assert not said
  _watch(health.codebook_collapse(1024, 3), *_books(*[1.5] * 40))
  assert len(said) == 1
  for part in (
    "CodebookCollapse: step 2, 3 lines",
    "1.50 of codebook 1",
    "below 10.24",
  ):
    assert part in said[0]
  assert "codebook 0" not in said[0] and "learning rate" in said[0]


def test_it_is_said_again_but_not_often(said):
  _watch(health.codebook_collapse(1024, 3), *_books(*[1.5] * 13), every=5)
  assert [text.split(", ")[0] for text in said] == [
    f"CodebookCollapse: step {step}" for step in (2, 7, 12)
  ]
  said.clear()  # a relapse does not make it more often
  relapse = _books(1.5, 1.5, 1.5, 300.0, 1.5, 1.5, 1.5)
  _watch(health.codebook_collapse(1024, 3), *relapse, every=5)
  assert len(said) == 1


@pytest.mark.parametrize("size, fine", [(64, 2.1), (1024, 10.5), (8, 2.1)])
def test_the_floor_of_perplexity(said, size, fine):
  _watch(health.codebook_collapse(size, 1), *_books(fine))
  assert not said
  _watch(health.codebook_collapse(size, 1), *_books(fine - 0.4))
  assert len(said) == 1


def _game(*values, norm=1.0):
  return [{"disc": value, "disc_grad_norm": norm} for value in values]


def test_a_won_game_is_told_from_a_good_one_and_from_none(said):
  # 3 of least squares; good runs of this package lie between 0.8 and 1.5 of 1.5.
  symptom = health.discriminator_wins(1.5, 3)
  _watch(symptom, *_game(0.8, 1.2, 1.5, 3.1), *_game(0.0, 0.0, 0.0, norm=0.0))
  assert not said
  _watch(symptom, *_game(0.1, 0.05, 0.01))
  (text,) = said
  assert text.startswith("DiscriminatorWins: step 2") and "its loss is 0.01" in text


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_undecided_is_the_best_loss_of_one_score_for_all(name):
  game = losses.ADVERSARIAL[name]
  scores = [[jnp.full((2, 3), score)] for score in np.linspace(-2, 2, 41)]
  best = min(float(game.discriminator([[s]], [[s]])) for (s,) in scores)
  assert best == pytest.approx(game.undecided)


def test_a_condition_that_is_ignored(said):
  lines = [{"eval/gain_per_codebook": np.array([gain, 0.0])} for gain in (0.4, 0.01)]
  _watch(health.condition_ignored(), lines[0], {"loss": 1.0})
  assert not said
  _watch(health.condition_ignored(), lines[1])
  (text,) = said
  assert text.startswith("ConditionIgnored: step 0, last metrics: another utterance's")
  assert "costs 0.010 nats" in text and "(of each codebook: 0.010 0.000)" in text


def test_starvation(said):
  waits = [{"input_wait_fraction": share} for share in (0.9, 0.01, 0.19, 0.01)]
  _watch(health.input_starved(2), *waits)
  assert not said
  _watch(health.input_starved(2), *[{"input_wait_fraction": 0.4}] * 2)
  (text,) = said
  assert text.startswith("InputStarved: step 1") and "40% of the time" in text
