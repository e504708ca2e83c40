"""Registries: parts by name, the package's own and those from outside."""

import pytest

from jaxcodec.registry import Registry


def test_registered_parts_are_found_by_name():
  colours = Registry("paint.colour", {"red": 1})
  colours.register("blue", 2)
  assert dict(colours) == {"red": 1, "blue": 2}
  assert colours.lookup("blue") == 2


def test_a_registered_part_can_be_replaced_but_not_an_own_one():
  colours = Registry("paint.colour", {"red": 1})
  colours.register("blue", 2)
  colours.register("blue", 3)
  assert colours.lookup("blue") == 3
  with pytest.raises(ValueError, match=r"paint.colour: .* 'red'"):
    colours.register("red", 4)


@pytest.mark.parametrize("name", ["green", None, ["red"]])
def test_an_unknown_name_is_an_error_of_the_wanted_class(name):
  class PaintError(ValueError):
    pass

  colours = Registry("paint.colour", {"red": 1, "blue": 2}, PaintError)
  with pytest.raises(PaintError, match=r"paint.colour must be one of \['blue', 'red'"):
    colours.lookup(name)


def test_a_part_given_by_its_address_is_imported_when_it_is_looked_up():
  modules = Registry("module", {"late": "colorsys:rgb_to_hsv", "not": "no_module:x"})
  assert "late" in modules and "not" in modules and len(modules) == 2
  import colorsys

  assert modules.lookup("late") is modules["late"] is colorsys.rgb_to_hsv
  with pytest.raises(ModuleNotFoundError, match="no_module"):
    modules.lookup("not")
