"""Writes study.json as tables, in Markdown and CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxcodec.report.format import SET_TITLES, align, interval, metric_label, number
from jaxcodec.report.study import setting
from jaxcodec.report.study.reasons import reasons
from jaxcodec.study.token_stats import MEASURES

Study = Mapping[str, Any]
COLUMNS = ("set", "slm", "system", "measure", "mean", "low", "high", "n", "n_failed")

# Of encoder / quantiser / decoder.
SIZES = ("M parameters", "G multiply-adds/s")
INTERVALS = (
  "Means over held-out utterances with 95% bootstrap intervals; with several seeds"
  " pooled over them, and intervals over seeds and utterances. Parameters (millions)"
  " and multiply-adds (billions a second of audio) are those of encoder / quantiser /"
  " decoder."
)
CODEBOOKS = "Codebook 0 / mean over codebooks."
CORRELATED = (
  "Positive means that codecs which reconstruct better generate better. In brackets is"
  " Fisher's 95% interval; p is Pearson's, by permutation, not corrected for the number"
  " of rows; n counts codecs. Decoders of the same tokens are one point, of their"
  " means."
)
ATTRIBUTED = (
  "The share of the variance between systems that each part explains beyond the other"
  " (type II), F tests, and the variance between quantisers less that between decoders"
  " with its 95% interval over utterances. The p are not corrected for the number of"
  " rows."
)


def to_csv(study: Study) -> str:
  """Returns CSV with one line a system and measure, numbers in full precision."""
  buffer = io.StringIO()
  writer = csv.writer(buffer, lineterminator="\n")
  writer.writerow(COLUMNS)
  for group, slm, system, measures in _rows(study):
    for measure, m in measures.items():
      low, high = m["ci95"]
      values = (m["mean"], low, high, m["n"], m["n_failed"])
      writer.writerow((group, slm or "", system, measure, *values))
  return buffer.getvalue()


def _rows(study: Study) -> Iterator[tuple[str, str | None, str, Mapping[str, Any]]]:
  for view in (study, *setting.views(study).values()):
    for codec, measures in view["reconstruction"].items():
      yield "reconstruction", None, codec, measures
    for slm, systems in view["generation"].items():
      for codec, measures in systems.items():
        yield "generation", slm, codec, measures
  for group, measures in study["references"].items():
    if group != "ground_truth":
      yield group, None, study.get("reference_of", {}).get(group, ""), measures
  for slm in study["generation"]:
    for group, measures in truth_of(study, slm).items():
      yield group, slm, "", measures


def to_markdown(study: Study) -> str:
  """Returns the study's report in Markdown."""
  parts = [
    "# The study",
    *setting.sentences(study),
    _cells(study),
    *_results(study),
    INTERVALS,
    "## Differences",
    _comparisons(study),
    "## Tokens",
    CODEBOOKS,
    align(token_rows(study)),
    "\n".join(f"- {name}: {what}" for name, what in MEASURES.items()),
    "## Reconstruction and generation, correlated over codecs",
    CORRELATED,
    align(correlation_rows(study)),
    "## Quantiser and decoder",
    ATTRIBUTED,
    align(attribution_rows(study)),
  ]
  for name, view in setting.views(study).items():
    parts += [f"# The design {name!r}", setting.about_design(view), *_results(view)]
    parts += ["## Quantiser and decoder", align(attribution_rows(view))]
  return "\n\n".join(parts) + "\n"


def _results(study: Study) -> list[str]:
  """Returns the findings and measures of a design."""
  parts = [
    "## Findings",
    _findings(study),
    "## Reconstruction",
    align(measure_rows(study, study["reconstruction"])),
  ]
  for slm, systems in study["generation"].items():
    parts += [f"## Generation by {slm}", align(measure_rows(study, systems, slm))]
    parts += [describe_endings(study, slm)]
  return parts


def _cells(study: Study) -> str:
  rows = [("cell", "state", "why")]
  for name, cell in study["cells"].items():
    rows.append((name, cell["state"], cell.get("reason") or ""))
  return align(rows)


def measure_rows(
  study: Study, systems: Mapping[str, Mapping[str, Any]], slm: str | None = None
) -> list[tuple[str, ...]]:
  """Returns a row a system, then the originals and Opus if they have a measure.

  With a language model the originals are compared with its prompts.
  """
  names = list(next(iter(systems.values())))
  labels = (metric_label(name, study["measures"][name]) for name in names)
  rows = [("codec", *SIZES, *labels)]
  references = {**study["references"], **truth_of(study, slm)}
  references = {_reference_title(study, k): v for k, v in references.items()}
  for system, measures in {**systems, **references}.items():
    if any(name in measures for name in names):
      estimates = (estimate(measures.get(name)) for name in names)
      rows.append((system, *size_cells(study, system), *estimates))
  return rows


def _reference_title(study: Study, name: str) -> str:
  """Returns what a row of originals or another codec is called.

  Those of another codec follow the rate of the study's first; where others have another
  rate, the row says whose it is.
  """
  of = study.get("reference_of", {}).get(name)
  return SET_TITLES[name] + (f" (as {of})" if of else "")


def truth_of(study: Study, slm: str | None) -> dict[str, Any]:
  """Returns the originals' measures beside a language model's, by the set's name.

  Studies of earlier versions, and codecs by themselves, have those of one for all.
  """
  found = study.get("originals", {}).get(slm)
  found = found or study["references"].get("ground_truth")
  return {"ground_truth": found} if found else {}


def size_cells(study: Study, system: str) -> tuple[str, str]:
  """Returns parameters and multiply-adds of a codec's parts; dashes where unknown."""
  sizes = study["codecs"].get(system, {}).get("sizes", {})
  if not sizes:  # the originals, Opus, and studies of earlier revisions
    return "–", "–"
  parameters = [f"{part['parameters'] / 1e6:.2g}" for part in sizes.values()]
  macs = [f"{part['macs_per_second'] / 1e9:.2g}" for part in sizes.values()]
  return " / ".join(parameters), " / ".join(macs)


def describe_endings(study: Study, slm: str) -> str:
  """Says which systems' generations did not all end by themselves."""
  bad = [
    f"{codec} {counts['cut']} cut, {counts['empty']} of no sound"
    for codec, counts in study["endings"][slm].items()
    if counts["cut"] or counts["empty"]
  ]
  if not bad:
    return "All generations ended by themselves."
  return f"Generations that did not end by themselves: {'; '.join(bad)}."


def both_measured(study: Study, first: str, second: str) -> bool:
  """Whether every system has this reconstruction and this generation measure."""
  generated = [m for s in study["generation"].values() for m in s.values()]
  reconstructed = study["reconstruction"].values()
  return all(first in m for m in reconstructed) and all(second in m for m in generated)


def estimate(m: Mapping[str, Any] | None) -> str:
  """Formats `mean (low to high)`; a dash for no value.

  Where some utterances have no value, it says how many have.
  """
  if m is None or m["mean"] is None:
    return "–"
  bounds, failed = interval(m["ci95"]), m.get("n_failed", 0)
  said = number(m["mean"]) + ("" if bounds == "–" else f" ({bounds})")
  return said + (f", {m['n']} of {m['n'] + failed}" if failed else "")


def _comparisons(study: Study) -> str:
  """Returns the pairs that differ after Holm's correction; study.json has all pairs."""
  rows = [("measure", "pair", "difference", "p (Holm)")]
  for row in study["comparisons"]:
    if row["p_holm"] < 0.05:
      where = row["slm"] or "reconstruction"
      difference = f"{number(row['value'])} ({interval(row['ci95'])})"
      pair = f"{row['a']} - {row['b']}"
      rows.append(
        (f"{where} {row['measure']}", pair, difference, p_value(row["p_holm"]))
      )
  count = len(study["comparisons"])
  said = f"{len(rows) - 1} of {count} paired comparisons have p < 0.05 after Holm's"
  said += " correction over the pairs of a measure, given these trained models."
  return said + (f"\n\n{align(rows)}" if len(rows) > 1 else "")


def p_value(p: float | None) -> str:
  """Formats a p-value with three decimals; a dash for None."""
  if p is None:
    return "–"
  return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def token_rows(study: Study) -> list[tuple[str, ...]]:
  """Returns each statistic of codebook 0 and its mean over codebooks."""
  rows = [("statistic", *study["tokens"])]
  for name in MEASURES:
    values = [tokens[name] for tokens in study["tokens"].values()]
    cells = (f"{number(v[0])} / {number(sum(v) / len(v))}" for v in values)
    rows.append((name, *cells))
  return rows


def correlation_rows(study: Study) -> list[tuple[str, ...]]:
  """Returns a row for each reconstruction measure with each generation measure."""
  rows = [("slm", "reconstruction", "generation", "Pearson", "Spearman", "p", "n")]
  for row in study["correlations"]:
    cells = [_correlation(row[kind]) for kind in ("pearson", "spearman")]
    names = (row["slm"], row["reconstruction"], row["generation"])
    pearson = row["pearson"]
    rows.append((*names, *cells, p_value(pearson["p"]), str(pearson["n"])))
  return rows


def _correlation(found: Mapping[str, Any]) -> str:
  return estimate({"mean": found["value"], "ci95": found["fisher95"]})


def attribution_rows(study: Study) -> list[tuple[str, ...]]:
  """Returns how much of each measure the two parts of a codec explain."""
  head = ("measure", "quantiser", "decoder", "p quantiser", "p decoder", "difference")
  rows = [head]
  for row in study["attribution"]:
    factors = [row["quantizer"], row["decoder"]]
    # Where each codec has a part of its own, nothing is left to tell shares by.
    known = bool(row["residual"]["df"])
    shares = [number(factor["eta_squared"]) if known else "–" for factor in factors]
    tests = [p_value(factor["p"]) for factor in factors]
    contrast = row["quantizer_less_decoder"]
    bounds = " to ".join(_short(v) for v in contrast["ci95"])
    where = f"{row['slm'] or 'reconstruction'} {row['measure']}"
    rows.append((where, *shares, *tests, f"{_short(contrast['value'])} ({bounds})"))
  return rows


def _short(value: float | None) -> str:
  return "–" if value is None else f"{value:.2g}"


def _findings(study: Study) -> str:
  rows: list[Sequence[str]] = [("finding", "verdict", *study["generation"])]
  for finding in study["findings"]:
    by_slm = (finding["by_slm"][slm] for slm in study["generation"])
    claim = f"{finding['number']}. {finding['claim']}"
    rows.append((claim, finding["verdict"], *by_slm))
  rules = []
  for finding in study["findings"]:
    rules.append(f"{finding['number']}. {finding['rule']}")
    rules += [f"   - {text}" for text in all_reasons(finding)]
  return "\n\n".join([align(rows), "\n".join(rules)])


def all_reasons(finding: Mapping[str, Any]) -> list[str]:
  """Returns the reasons of a finding's verdict with each language model."""
  return [
    f"{slm}: {reason}" for slm in finding["by_slm"] for reason in reasons(finding, slm)
  ]
