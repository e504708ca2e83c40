"""Renders pages from the templates beside this module; all text in them is escaped."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import markupsafe


class Table(NamedTuple):
  """A table for the macro of that name.

  Attributes:
    head: column titles.
    rows: cells; the first of a row is its heading.
    words: columns of prose, which are left-aligned and may wrap.
    code: columns in a fixed-width face.
    units: shown behind each row's heading; () if no row has one.
    caption: shown above; "" for none.
  """

  head: Sequence[str]
  rows: Sequence[Sequence[str]]
  words: Collection[int] = ()
  code: Collection[int] = ()
  units: Sequence[str] = ()
  caption: str = ""


class Picture(NamedTuple):
  """A picture as a data URI, and its description for those who can't see it."""

  source: str
  alt: str


def digests(models: Mapping[str, str]) -> Table:
  """The table of the weights' checksums."""
  return Table(("model", "sha256"), list(models.items()), code=(1,))


def versions(packages: Iterable[tuple[str, str]]) -> Table:
  """The table of package versions, in the packages' order by name."""
  return Table(("package", "version"), sorted(packages))


def render(template: str, **values: Any) -> str:
  """Returns the page made of a template of this package.

  Raises:
    jinja2.UndefinedError: the template uses a value that it isn't given.
  """
  return _ENVIRONMENT.get_template(template).render(values)


_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.PackageLoader("jaxcodec.report"),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)


def _source(name: str) -> markupsafe.Markup:
  """A style sheet or script of the package as it is, neither parsed nor escaped."""
  return markupsafe.Markup(_ENVIRONMENT.loader.get_source(_ENVIRONMENT, name)[0])


_ENVIRONMENT.globals["source"] = _source
