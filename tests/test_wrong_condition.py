"""Conditions of other rows, by hand."""

import jax.numpy as jnp
import numpy as np

from jaxcodec.slm import wrong_condition


def _prefix(lengths, size):
  return jnp.arange(size)[None] < jnp.asarray(lengths)[:, None]


def test_semantics_of_another_row_fill_this_one():
  semantic = jnp.array([[1, 2, 3, 4], [5, 6, 0, 0], [9, 9, 9, 9], [7, 8, 9, 0]])
  mask = _prefix([4, 2, 0, 3], 4)
  got = wrong_condition.borrow_semantic(semantic, mask)
  np.testing.assert_array_equal(got[0], [5, 6, 5, 6])
  np.testing.assert_array_equal(got[1], [7, 8, 9, 7])
  np.testing.assert_array_equal(got[3], [1, 2, 3, 4])
  alone = wrong_condition.borrow_semantic(semantic[3:1:-1], mask[3:1:-1])
  np.testing.assert_array_equal(alone[0, :3], [9, 8, 7])


def test_a_text_is_that_of_the_next_row_or_else_backwards():
  text = jnp.array([[1, 5, 6, 7, 2], [1, 2, 0, 0, 0], [1, 8, 9, 2, 9], [1, 8, 9, 2, 4]])
  mask = _prefix([5, 2, 4, 4], 5)
  filled = jnp.array([True, False, True, True])
  got, got_mask = wrong_condition.borrow_text(text, mask, filled)
  np.testing.assert_array_equal(got[0], [1, 8, 9, 2, 0])
  np.testing.assert_array_equal(got[2], [1, 9, 8, 2, 0])
  np.testing.assert_array_equal(got[3], [1, 5, 6, 7, 2])
  np.testing.assert_array_equal(got_mask.sum(1), [4, 4, 4, 5])
  alone, _ = wrong_condition.borrow_text(text[:1], mask[:1], filled[:1])
  np.testing.assert_array_equal(alone, [[1, 7, 6, 5, 2]])
