"""Draws the study's plots; systems differ in markers and labels, not only colours."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from jaxcodec.report.figures import ACCENT, INK, MUTED, new_axes, svg

_LOOKS = (("o", ACCENT), ("s", MUTED), ("^", INK), ("D", "#6b7280"))
Measures = Mapping[str, Mapping[str, Any]]


def interval_plot(
  systems: Mapping[str, Measures],
  measure: str,
  label: str,
  references: Mapping[str, float],
) -> str:
  """Returns `draw_intervals` as a figure (SVG); `label` names the horizontal axis."""
  rows = len({codec for found in systems.values() for codec in found})
  with new_axes(4.6, 0.9 + 0.42 * rows) as (figure, axes):
    draw_intervals(axes, systems, measure, references)
    axes.set(xlabel=label, title=measure)
    if len(axes.get_legend_handles_labels()[1]) > 1:
      axes.legend(fontsize=8, loc="best")
    return svg(figure)


def draw_intervals(
  axes: Axes,
  systems: Mapping[str, Measures],
  measure: str,
  references: Mapping[str, float],
) -> None:
  """Draws means and intervals, one row a codec, one marker a language model.

  Args:
    axes: to draw on.
    systems: {mean, ci95} by language model (or set), codec and measure.
    measure: its name.
    references: the originals' mean by language model (or set), each a dashed line; one
      where they are equal.
  """
  codecs = list(dict.fromkeys(codec for found in systems.values() for codec in found))
  for index, (name, found) in enumerate(systems.items()):
    offset = 0.22 * (index - (len(systems) - 1) / 2)
    rows = [
      (row + offset, found[codec][measure])
      for row, codec in enumerate(codecs)
      if found.get(codec, {}).get(measure, {}).get("mean") is not None
    ]
    if not rows:
      continue
    heights, means = [row for row, _ in rows], [m["mean"] for _, m in rows]
    errors = list(zip(*(_error(m) for _, m in rows), strict=True))
    style = _style(index) | dict(capsize=2.5, linewidth=1.2)
    axes.errorbar(means, heights, xerr=errors, label=name, **style)
  alike = len(set(references.values())) == 1
  for index, (name, mean) in enumerate(
    list(references.items())[: 1 if alike else None]
  ):
    color = INK if alike else _style(index)["color"]
    label = "originals" if alike else f"originals, {name}"
    axes.axvline(mean, color=color, linestyle="--", linewidth=1, label=label)
  axes.set_yticks(range(len(codecs)), codecs)
  axes.set(ylim=(len(codecs) - 0.5, -0.5))


def _style(index: int) -> dict[str, Any]:
  marker, color = _LOOKS[index % len(_LOOKS)]
  return dict(fmt=marker, color=color, markersize=5)


def _error(m: Mapping[str, Any]) -> tuple[float, float]:
  """Returns how far the interval reaches below and above the mean; 0 without one."""
  low, high = m["ci95"]
  if low is None:
    return 0.0, 0.0
  return max(m["mean"] - low, 0.0), max(high - m["mean"], 0.0)


def scatter(
  reconstruction: Measures,
  generation: Mapping[str, Mapping[str, Measures]],
  first: str,
  second: str,
) -> str:
  """Returns `draw_scatter` as a figure (SVG)."""
  with new_axes(4.6, 3.4) as (figure, axes):
    draw_scatter(axes, reconstruction, generation, first, second)
    if axes.get_legend_handles_labels()[1]:
      axes.legend(fontsize=8)
    return svg(figure)


def draw_scatter(
  axes: Axes,
  reconstruction: Measures,
  generation: Mapping[str, Mapping[str, Measures]],
  first: str,
  second: str,
) -> None:
  """Draws a reconstruction measure against a generation measure, a point a system.

  Args:
    axes: to draw on.
    reconstruction: {mean, ci95} by codec and measure.
    generation: {mean, ci95} by language model, codec and measure.
    first, second: the reconstruction's and the generation's measure.
  """
  for index, (slm, systems) in enumerate(generation.items()):
    points = [
      (codec, reconstruction[codec][first], measures[second])
      for codec, measures in systems.items()
      if None not in (reconstruction[codec][first]["mean"], measures[second]["mean"])
    ]
    style = _style(index) | dict(linewidth=0.8)
    for number, (codec, x, y) in enumerate(points):
      errors = {f"{k}err": [[e] for e in _error(m)] for k, m in (("x", x), ("y", y))}
      label = None if number else slm
      axes.errorbar(x["mean"], y["mean"], **errors, **style, label=label)
      place = dict(textcoords="offset points", xytext=(5, 4), fontsize=7.5)
      axes.annotate(codec, (x["mean"], y["mean"]), color=INK, **place)
  axes.set(xlabel=f"{first}, reconstructed", ylabel=f"{second}, generated")
