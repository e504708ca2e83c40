"""Tables of an experiment's measures."""

import itertools
from collections.abc import Mapping
from typing import Any

from jaxcodec.report.format import SET_TITLES, arrow, interval, number
from jaxcodec.report.html import Table

_CEILING = "ground_truth"
_CAPTION = (
  "The last three columns are the originals of what was generated: what the recogniser"
  " and the predictors say of perfect output."
)

_GAIN = (
  "Gain: how much worse the model does when it is given another utterance's text or"
  " semantic tokens. At 0 it doesn't use what it is given."
)


def set_tables(results: Mapping[str, Any]) -> dict[str, Table]:
  """Returns the table of every set that was measured, by its title."""
  return {
    title: _set_table(results, name)
    for name, title in SET_TITLES.items()
    if results.get(name)
  }


def _set_table(results: Mapping[str, Any], name: str) -> Table:
  """Returns one set's table, with the originals' scores beside it as its ceiling."""
  ceiling = results[_CEILING] if name != _CEILING else {}
  bounded = any(metric in ceiling for metric in results[name])
  rows, units = [], []
  for metric, m in results[name].items():
    about = results["metrics"][metric]
    row = [metric + arrow(about), *_cells(m)]
    if bounded:
      row += _cells(ceiling[metric])[:3] if metric in ceiling else ["–"] * 3
    rows.append(row)
    units.append(about["unit"])
  head = ["metric", "mean", "95% CI", "n", "failed"]
  head += ["originals", "95% CI", "n"] if bounded else []
  return Table(head, rows, units=units, caption=_CAPTION if bounded else "")


def _cells(m: Mapping[str, Any]) -> tuple[str, ...]:
  return number(m["mean"]), interval(m["ci95"]), str(m["n"]), str(m["n_failed"])


def language_model(results: Mapping[str, Any]) -> Table:
  """Returns each codebook's held-out losses, and what the condition gains."""
  slm = results.get("slm", {})
  columns = [slm.get(f"{name}_per_codebook", ()) for name in ("ce", "accuracy", "gain")]
  rows = [
    (str(book), *map(number, values))
    for book, values in enumerate(itertools.zip_longest(*columns))
  ]
  head = ("codebook", "cross-entropy, nats", "accuracy", "gain, nats")
  return Table(head, rows, caption=_GAIN)


def absent(results: Mapping[str, Any]) -> Table:
  """Returns the metrics that could not run, with the lines that install them."""
  rows = list(results["absent"].items())
  return Table(("metric", "to install it"), rows, words=(1,), code=(1,))


def glossary(results: Mapping[str, Any]) -> Table:
  """Returns what each metric measures."""
  rows = [(name, about["measures"]) for name, about in results["metrics"].items()]
  return Table(("metric", "what it is"), rows, words=(1,))


def failures(results: Mapping[str, Any]) -> Table:
  """Returns every utterance on which a metric has no value, and why."""
  rows = [
    (row["id"], row["set"], metric, reason)
    for row in results["utterances"]
    for metric, reason in row["failed"].items()
  ]
  return Table(("utterance", "set", "metric", "reason"), rows, words=(1, 2, 3))


def utterance_tables(results: Mapping[str, Any]) -> dict[str, Table]:
  """Returns every utterance's values, one table a set, by the set's title."""
  tables = {}
  for name, title in SET_TITLES.items():
    rows = [row for row in results["utterances"] if row["set"] == name]
    if rows:
      metrics = list(results[name])
      cells = [(r["id"], r["speaker"], *(number(r[m]) for m in metrics)) for r in rows]
      tables[title] = Table(("utterance", "speaker", *metrics), cells, words=(1,))
  return tables
