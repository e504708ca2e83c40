"""The study's plots; markers and labels tell systems apart, not colours."""

from collections.abc import Mapping
from typing import Any

from jaxcodec.evals.report.figures import ACCENT, INK, MUTED, new_axes, svg

_LOOKS = (("o", ACCENT), ("s", MUTED), ("^", INK), ("D", "#6b7280"))
Measures = Mapping[str, Mapping[str, Any]]


def interval_plot(
  systems: Mapping[str, Measures], measure: str, label: str, reference: float | None
) -> str:
  """Means and intervals, one row a codec, one marker a language model (SVG).

  Args:
    systems: by language model (or set), by codec, the measure's {mean, ci95}.
    measure: its name.
    label: of the axis.
    reference: of the originals, a dashed line.
  """
  codecs = list(dict.fromkeys(codec for found in systems.values() for codec in found))
  height = 0.9 + 0.42 * len(codecs)
  with new_axes(4.6, height) as (figure, axes):
    for index, (name, found) in enumerate(systems.items()):
      marker, color = _LOOKS[index % len(_LOOKS)]
      offset = 0.22 * (index - (len(systems) - 1) / 2)
      rows = [
        (row + offset, found[codec][measure])
        for row, codec in enumerate(codecs)
        if found.get(codec, {}).get(measure, {}).get("mean") is not None
      ]
      if not rows:
        continue
      heights, means = [row for row, _ in rows], [m["mean"] for _, m in rows]
      look = dict(fmt=marker, color=color, markersize=5, capsize=2.5, linewidth=1.2)
      errors = [_error(m) for _, m in rows]
      axes.errorbar(
        means, heights, xerr=list(zip(*errors, strict=True)), label=name, **look
      )
    if reference is not None:
      axes.axvline(reference, color=INK, linestyle="--", linewidth=1, label="originals")
    axes.set_yticks(range(len(codecs)), codecs)
    axes.set(xlabel=label, title=measure, ylim=(len(codecs) - 0.5, -0.5))
    if len(axes.get_legend_handles_labels()[1]) > 1:
      axes.legend(fontsize=8, loc="best")
    return svg(figure)


def _error(m: Mapping[str, Any]) -> tuple[float, float]:
  """How far the interval reaches below and above the mean; 0 without one."""
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
  """A reconstruction measure against a generation measure, labelled points (SVG)."""
  with new_axes(4.6, 3.4) as (figure, axes):
    for index, (slm, systems) in enumerate(generation.items()):
      marker, color = _LOOKS[index % len(_LOOKS)]
      points = [
        (codec, reconstruction[codec][first], measures[second])
        for codec, measures in systems.items()
        if None not in (reconstruction[codec][first]["mean"], measures[second]["mean"])
      ]
      for number, (codec, x, y) in enumerate(points):
        axes.errorbar(
          x["mean"],
          y["mean"],
          xerr=[[e] for e in _error(x)],
          yerr=[[e] for e in _error(y)],
          fmt=marker,
          color=color,
          markersize=5,
          linewidth=0.8,
          label=slm if number == 0 else None,
        )
        place = dict(textcoords="offset points", xytext=(5, 4), fontsize=7.5)
        axes.annotate(codec, (x["mean"], y["mean"]), color=INK, **place)
    axes.set(xlabel=f"{first}, reconstructed", ylabel=f"{second}, generated")
    if axes.get_legend_handles_labels()[1]:
      axes.legend(fontsize=8)
    return svg(figure)
