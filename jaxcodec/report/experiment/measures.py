"""The measured numbers as HTML tables."""

from typing import Any

from jaxcodec.report.format import interval, number
from jaxcodec.report.markup import fragment, table, tag

_INTRO = (
  "Means over held-out utterances with 95% bootstrap confidence intervals. n counts"
  " the utterances behind a mean; failed ones have no value and are listed below."
)
_GROUPS = {
  "reconstruction": "Reconstruction",
  "generation": "Generation",
  "ground_truth": "Originals",
  "opus": "Opus at the codec's bitrate",
  "opus_double": "Opus at twice the codec's bitrate",
}
_ARROWS = {"higher": " ↑", "lower": " ↓"}


def section(results: dict[str, Any]) -> str:
  """Every set's table, absent metrics, failed measurements, and what metrics are."""
  parts = [tag("p", _INTRO)]
  for group, title in _GROUPS.items():
    if results.get(group):
      parts.append(f"<h3>{title}</h3>" + _measures(results, group))
  if results["absent"]:
    rows = results["absent"].items()
    parts.append(
      "<h3>Absent metrics</h3>"
      + table(("metric", "to install it"), rows, words=(1,), code=(1,))
    )
  return "\n".join([*parts, _failures(results), _glossary(results)])


def _label(name: str, about: dict[str, str]) -> str:
  """A metric's name, direction and unit, as HTML."""
  unit = (
    f' <span class="unit">{fragment(about["unit"])}</span>' if about["unit"] else ""
  )
  return fragment(name + _ARROWS.get(about["better"], "")) + unit


def _cells(m: dict[str, Any]) -> tuple[str, ...]:
  return number(m["mean"]), interval(m["ci95"]), str(m["n"]), str(m["n_failed"])


def _measures(results: dict[str, Any], group: str) -> str:
  """One set's table; beside it what the originals score, which bounds the set."""
  head = ["metric", "mean", "95% CI", "n", "failed"]
  ceiling = results["ground_truth"] if group != "ground_truth" else {}
  bounded = any(name in ceiling for name in results[group])
  rows = []
  for name, m in results[group].items():
    row = [_label(name, results["metrics"][name]), *_cells(m)]
    if bounded:
      row += _cells(ceiling[name])[:3] if name in ceiling else ["–"] * 3
    rows.append(row)
  if not bounded:
    return table(head, rows, raw=(0,))
  caption = (
    "The last three columns are the originals: what the recogniser and the predictors"
    " say of perfect output."
  )
  return table([*head, "originals", "95% CI", "n"], rows, raw=(0,), caption=caption)


def _glossary(results: dict[str, Any]) -> str:
  rows = [(name, about["measures"]) for name, about in results["metrics"].items()]
  inner = table(("metric", "what it is"), rows, words=(1,))
  return f"<details><summary>What the metrics are</summary>{inner}</details>"


def _failures(results: dict[str, Any]) -> str:
  rows = [
    (row["id"], row["set"], metric, reason)
    for row in results["utterances"]
    for metric, reason in row["failed"].items()
  ]
  if not rows:
    return ""
  head = ("utterance", "set", "metric", "reason")
  inner = table(head, rows, words=(1, 2, 3))
  return f"<details><summary>{len(rows)} failed measurements</summary>{inner}</details>"


def utterances(results: dict[str, Any]) -> str:
  """Every utterance's values, one table a set, folded away."""
  parts = []
  for group, title in _GROUPS.items():
    rows = [row for row in results["utterances"] if row["set"] == group]
    if rows:
      metrics = list(results[group])
      cells = [(r["id"], r["speaker"], *(number(r[m]) for m in metrics)) for r in rows]
      inner = table(("utterance", "speaker", *metrics), cells, words=(1,))
      summary = f"{title}: {len(rows)} utterances"
      parts.append(f"<details><summary>{summary}</summary>{inner}</details>")
  return "\n".join(parts)
