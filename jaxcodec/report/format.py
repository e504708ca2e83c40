"""Formats results as tables for the terminal and for Markdown."""

from collections.abc import Mapping
from typing import Any

HEADER = ("metric", "mean", "95% CI", "n", "failed")
# The sets of results.json, in the order in which reports show them.
SET_TITLES = {
  "reconstruction": "Reconstruction",
  "generation": "Generation",
  "ground_truth": "Originals",
  "opus": "Opus at the codec's bitrate",
  "opus_double": "Opus at twice the codec's bitrate",
  "lyra_3200": "Lyra V2 at 3.2 kbit/s",
  "lyra_6000": "Lyra V2 at 6 kbit/s",
  "lyra_9200": "Lyra V2 at 9.2 kbit/s",
  "mdct_kmeans": "MDCT and k-means, without a network, at the codec's bitrate",
}
# What a codec should be ahead of MDCT and k-means in.
_AHEAD = ("pesq_wb", "stoi")


def format_table(results: Mapping[str, Any]) -> str:
  """Returns Markdown tables of all sets, and absent metrics with their install lines.

  Args:
    results: the content of results.json.
  """
  parts = []
  for name, title in SET_TITLES.items():
    if results.get(name):
      rows = table_rows(results[name], results["metrics"])
      parts.append(f"{title}\n\n{align([HEADER, *rows])}")
  if results["absent"]:
    lines = [f"- {name}: {line}" for name, line in results["absent"].items()]
    parts.append("Absent metrics\n\n" + "\n".join(lines))
  if behind := below_yardstick(results):
    parts.append(behind)
  return "\n\n".join(parts)


def below_yardstick(results: Mapping[str, Any]) -> str:
  """Says in which measures the codec is below one without a network; "" if in none."""
  ours, theirs = (results.get(s, {}) for s in ("reconstruction", "mdct_kmeans"))
  found = []
  for name in _AHEAD:
    means = [one.get(name, {}).get("mean") for one in (ours, theirs)]
    if None not in means and means[0] < means[1]:
      found.append(f"{name} {number(means[0])} against {number(means[1])}")
  if not found:
    return ""
  return (
    "The codec is below MDCT and k-means, a codec without a network at its bitrate: "
    + ", ".join(found)
    + "."
  )


def table_rows(
  summary: Mapping[str, Any], metrics: Mapping[str, Any]
) -> list[tuple[str, ...]]:
  """Returns the cells of one set's rows, in HEADER's order."""
  return [
    (
      metric_label(name, metrics[name]),
      number(m["mean"]),
      interval(m["ci95"]),
      str(m["n"]),
      str(m["n_failed"]),
    )
    for name, m in summary.items()
  ]


def metric_label(name: str, about: Mapping[str, str]) -> str:
  """Returns a metric's name with its unit and an arrow towards better."""
  return name + (f" ({about['unit']})" if about["unit"] else "") + arrow(about)


def arrow(about: Mapping[str, str]) -> str:
  """Returns a space and an arrow towards better; "" where neither is better."""
  return {"higher": " ↑", "lower": " ↓"}.get(about["better"], "")


def number(value: float | None) -> str:
  """Formats a value with three decimals, large ones with one; a dash for None."""
  if value is None:
    return "–"
  return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def interval(bounds: list[float | None]) -> str:
  """Formats an interval as `low to high`; a dash for one without bounds."""
  low, high = bounds
  return "–" if low is None else f"{number(low)} to {number(high)}"


def align(rows: list[tuple[str, ...]]) -> str:
  """Returns a Markdown table, its first column left-aligned, the others right.

  Args:
    rows: cells; the first row is the head.
  """
  widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
  lines = []
  for row in rows:
    cells = [row[0].ljust(widths[0])]
    cells += [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
    lines.append("| " + " | ".join(cells) + " |")
  rule = ["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]
  return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])
