"""The study's report: one HTML file with everything in it, nothing fetched."""

import importlib.resources
import json
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxcodec.report.format import interval, metric_label, number
from jaxcodec.report.markup import figure, fragment, table, tag
from jaxcodec.report.study import listening, setting, tables
from jaxcodec.report.study.plots import interval_plot, scatter
from jaxcodec.study.token_stats import MEASURES

Study = Mapping[str, Any]


def render_html(study: Study, sentences: Sequence[listening.Sentence]) -> str:
  """The whole report.

  Args:
    study: the content of study.json.
    sentences: from `listening.read_sentences`.
  """
  sections = {
    "Findings": _findings(study),
    "Generation": _generation(study),
    "Reconstruction": _reconstruction(study),
    "Listening": listening.section(sentences),
    "Differences": _differences(study),
    "Relations": _relations(study),
    "Parts": _parts(study),
    "Tokens": _tokens(study),
    "Cells": _cells(study),
  }
  return string.Template(_resource(__package__, "page.html")).substitute(
    style=_resource("jaxcodec.report.experiment", "style.css")
    + _resource(__package__, "page.css"),
    script=_resource(__package__, "page.js"),
    version=fragment(study["version"]),
    nav="".join(tag("a", name, href=f"#{name.lower()}") for name in sections),
    sections="\n".join(
      f'<section id="{name.lower()}"><h2>{name}</h2>\n{body}\n</section>'
      for name, body in sections.items()
    ),
  )


def _resource(package: str, name: str) -> str:
  return importlib.resources.files(package).joinpath(name).read_text("utf-8")


def _sortable(head: Sequence[str], rows: Iterable[Sequence[str]], **options) -> str:
  return f'<div class="sortable">{table(head, rows, **options)}</div>'


def _setting(study: Study) -> str:
  return "".join(tag("p", text) for text in setting.sentences(study))


def _findings(study: Study) -> str:
  parts = [_setting(study)]
  for finding in study["findings"]:
    verdict = finding["verdict"]
    numbers = json.dumps(finding["numbers"], indent=1, ensure_ascii=False)
    by_slm = ", ".join(f"{slm}: {one}" for slm, one in finding["by_slm"].items())
    shown = f'<span class="verdict {verdict}">{verdict}</span>'
    parts.append(
      f"<h3>{finding['number']}. {fragment(finding['claim'])}</h3>"
      f"<p>{shown} here ({fragment(by_slm)})</p>"
      + tag("p", finding["rule"])
      + f"<ul>{''.join(tag('li', text) for text in tables.why(finding))}</ul>"
      + f"<details><summary>The numbers</summary>{tag('pre', numbers)}</details>"
    )
  return "\n".join(parts)


def _measures(study: Study, systems: Mapping[str, Mapping[str, Any]]) -> str:
  head, *rows = tables.measure_rows(study, systems)
  return _sortable(head, rows)


def _plots(study: Study, systems: Mapping[str, Any], names: Iterable[str]) -> str:
  truth = study["references"].get("ground_truth", {})
  drawn = []
  for name in names:
    label = metric_label(name, study["measures"][name])
    reference = truth.get(name, {}).get("mean")
    source = interval_plot(systems, name, label, reference)
    drawn.append(figure(source, alt=f"{name} of every codec with 95% intervals"))
  return f'<div class="grid">{"".join(drawn)}</div>'


def _generation(study: Study) -> str:
  parts = [tag("p", tables.INTERVALS)]
  systems = study["generation"]
  first = next(iter(next(iter(systems.values())).values()))
  parts.append(_plots(study, systems, first))
  for slm, found in systems.items():
    parts.append(tag("h3", slm) + _measures(study, found))
    parts.append(tag("p", tables.ended(study, slm)))
  return "\n".join(parts)


def _reconstruction(study: Study) -> str:
  systems = study["reconstruction"]
  names = [n for n in next(iter(systems.values())) if study["measures"][n]["better"]]
  plots = _plots(study, {"reconstruction": systems}, names)
  return plots + _measures(study, systems)


def _differences(study: Study) -> str:
  head = ("measure", "pair", "difference", "95% CI", "p", "p (Holm)", "p (Wilcoxon)")
  rows = []
  for row in study["comparisons"]:
    tests = (row[p] for p in ("p_permutation", "p_holm", "p_wilcoxon"))
    rows.append(
      (
        f"{row['slm'] or 'reconstruction'} {row['measure']}",
        f"{row['a']} less {row['b']}",
        *(number(row["value"]), interval(row["ci95"])),
        *map(tables.p_value, tests),
      )
    )
  note = "Every pair on the same utterances; p by paired permutation."
  return tag("p", note) + _sortable(head, rows)


def _relations(study: Study) -> str:
  measures = study["settings"]["measures"]
  drawn = []
  first = measures["reconstruction"]
  for role in ("naturalness", "intelligibility", "speaker"):
    second = measures[role]
    if tables.have(study, first, second):
      source = scatter(study["reconstruction"], study["generation"], first, second)
      drawn.append(figure(source, alt=f"{second} generated against {first}"))
  head, *rows = tables.correlation_rows(study)
  return (
    f'<div class="grid">{"".join(drawn)}</div>'
    + tag("p", tables.CORRELATED)
    + _sortable(head, rows)
  )


def _parts(study: Study) -> str:
  head, *rows = tables.attribution_rows(study)
  return tag("p", tables.ATTRIBUTED) + _sortable(head, rows)


def _tokens(study: Study) -> str:
  head, *rows = tables.token_rows(study)
  meanings = table(("statistic", "what it is"), MEASURES.items(), words=(1,))
  return (
    tag("p", tables.CODEBOOKS)
    + _sortable(head, rows)
    + f"<details><summary>What the statistics are</summary>{meanings}</details>"
  )


def _cells(study: Study) -> str:
  rows = [
    (name, cell["state"], cell.get("reason") or "", cell["command"])
    for name, cell in study["cells"].items()
  ]
  cells = _sortable(("cell", "state", "why", "command"), rows, words=(2, 3), code=(3,))
  models = table(("model", "sha256"), study["models"].items(), code=(1,))
  versions = table(("package", "version"), sorted(study["versions"].items()))
  return (
    cells
    + f"<details><summary>Models that measured</summary>{models}</details>"
    + f"<details><summary>Versions</summary>{versions}</details>"
  )
