"""The study's report as one HTML file that fetches nothing."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxcodec.report import html
from jaxcodec.report.format import interval, metric_label, number
from jaxcodec.report.study import listening, setting, tables
from jaxcodec.report.study.plots import interval_plot, scatter
from jaxcodec.study.evidence import GENERATED
from jaxcodec.study.sentences import Sentence
from jaxcodec.study.token_stats import MEASURES

Study = Mapping[str, Any]
_NOTES = {
  "intervals": tables.INTERVALS,
  "codebooks": tables.CODEBOOKS,
  "correlated": tables.CORRELATED,
  "attributed": tables.ATTRIBUTED,
}


def render_html(study: Study, sentences: Sequence[Sentence]) -> str:
  """Returns the whole page.

  Args:
    study: the content of study.json.
    sentences: from `study.sentences.read_sentences`.
  """
  return html.render(
    "study.html",
    version=study["version"],
    notes=_NOTES,
    setting=setting.sentences(study),
    findings=[_finding(finding) for finding in study["findings"]],
    generation=_generation(study),
    reconstruction=_reconstruction(study),
    level_dbfs=f"{listening.LEVEL_DBFS:.0f}",
    articles=listening.make_articles(sentences),
    differences=_differences(study),
    scatters=_scatters(study),
    correlations=_table(tables.correlation_rows(study)),
    attribution=_table(tables.attribution_rows(study)),
    designs=[_design(name, view) for name, view in setting.views(study).items()],
    tokens=_table(tables.token_rows(study)),
    token_statistics=html.Table(
      ("statistic", "what it is"), list(MEASURES.items()), words=(1,)
    ),
    cells=_cells(study),
    models=html.digests(study["models"]),
    versions=html.versions(study["versions"].items()),
  )


def _table(rows: Sequence[Sequence[str]]) -> html.Table:
  """Makes a table of rows, of which the first is the head."""
  return html.Table(rows[0], rows[1:])


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
  numbers = json.dumps(finding["numbers"], indent=1, ensure_ascii=False)
  return {**finding, "numbers": numbers, "reasons": tables.all_reasons(finding)}


def _design(name: str, study: Study) -> dict[str, Any]:
  """Returns what the page says of another design."""
  return {
    "name": name,
    "about": setting.about_design(study),
    "findings": [_finding(finding) for finding in study["findings"]],
    "generation": _generation(study),
    "reconstruction": _reconstruction(study),
    "attribution": _table(tables.attribution_rows(study)),
  }


def _plots(
  study: Study, systems: Mapping[str, Any], names: Iterable[str]
) -> list[html.Picture]:
  """Draws a plot a measure of every system's mean and interval."""
  truth = {
    group: tables.truth_of(study, group).get("ground_truth", {}) for group in systems
  }
  pictures = []
  for name in names:
    label = metric_label(name, study["measures"][name])
    known = {group: found.get(name, {}).get("mean") for group, found in truth.items()}
    references = {group: mean for group, mean in known.items() if mean is not None}
    source = interval_plot(systems, name, label, references)
    pictures.append(
      html.Picture(source, alt=f"{name} of every codec with 95% intervals")
    )
  return pictures


def _generation(study: Study) -> dict[str, Any]:
  by_slm = study["generation"]
  first = next(iter(next(iter(by_slm.values())).values()))
  systems = [
    {
      "slm": slm,
      "measures": _table(tables.measure_rows(study, systems, slm)),
      "ended": tables.describe_endings(study, slm),
    }
    for slm, systems in by_slm.items()
  ]
  return {"plots": _plots(study, by_slm, first), "systems": systems}


def _reconstruction(study: Study) -> dict[str, Any]:
  systems = study["reconstruction"]
  names = [n for n in next(iter(systems.values())) if study["measures"][n]["better"]]
  return {
    "plots": _plots(study, {"reconstruction": systems}, names),
    "measures": _table(tables.measure_rows(study, systems)),
  }


def _differences(study: Study) -> html.Table:
  head = ("measure", "pair", "difference", "95% CI", "p", "p (Holm)", "p (Wilcoxon)")
  rows = [
    (
      f"{row['slm'] or 'reconstruction'} {row['measure']}",
      f"{row['a']} less {row['b']}",
      number(row["value"]),
      interval(row["ci95"]),
      tables.p_value(row["p_permutation"]),
      tables.p_value(row["p_holm"]),
      tables.p_value(row["p_wilcoxon"]),
    )
    for row in study["comparisons"]
  ]
  return html.Table(head, rows)


def _scatters(study: Study) -> list[html.Picture]:
  """Plots reconstruction against each generation measure of the findings."""
  measures = study["settings"]["measures"]
  first = measures["reconstruction"]
  pictures = []
  for second in (measures[role] for role in GENERATED):
    if tables.both_measured(study, first, second):
      source = scatter(study["reconstruction"], study["generation"], first, second)
      pictures.append(html.Picture(source, alt=f"{second} generated against {first}"))
  return pictures


def _cells(study: Study) -> html.Table:
  rows = [
    (name, cell["state"], cell.get("reason") or "", cell["command"])
    for name, cell in study["cells"].items()
  ]
  return html.Table(("cell", "state", "why", "command"), rows, words=(2, 3), code=(3,))
