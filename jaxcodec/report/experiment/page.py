"""The HTML report: one file with everything in it, nothing fetched from elsewhere."""

import importlib.resources
import json
import string
from typing import Any

import jaxcodec
from jaxcodec.evals.workdir import Experiment
from jaxcodec.report.experiment import listening, measures
from jaxcodec.report.figures import codebook_bars, training_curve
from jaxcodec.report.format import interval, number
from jaxcodec.report.markup import figure, fragment, table, tag


def render_html(experiment: Experiment) -> str:
  """The whole report."""
  sections = {
    "Results": measures.section(experiment.results),
    "Listening": listening.section(experiment.utterances),
    "Training": _training(experiment.curves),
    "Codebooks": _codebooks(experiment.results),
    "Utterances": measures.utterances(experiment.results),
    "Provenance": _provenance(experiment),
  }
  sections = {name: body for name, body in sections.items() if body}
  return string.Template(_resource("template.html")).substitute(
    title=fragment(experiment.name),
    style=_resource("style.css"),
    version=fragment(jaxcodec.__version__),
    facts=_facts(experiment.results),
    nav="".join(tag("a", s, href=f"#{s.lower()}") for s in sections),
    sections="\n".join(
      f'<section id="{name.lower()}"><h2>{name}</h2>\n{body}\n</section>'
      for name, body in sections.items()
    ),
  )


def _resource(name: str) -> str:
  return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _facts(results: dict[str, Any]) -> str:
  """The tokens and the headline figures."""
  spec = results["token_spec"]
  tokens = f"{spec['num_codebooks']} x {spec['codebook_size']}"
  facts = [
    ("Tokens", tokens, f"{spec['frame_rate']:g} frames/s"),
    ("Bitrate", f"{spec['bitrate'] / 1000:.2f}", "kbit/s"),
  ]
  for group, name, label in (
    ("reconstruction", "stoi", "STOI, codec"),
    ("reconstruction", "pesq_wb", "PESQ-WB, codec"),
    ("generation", "wer", "WER, generated"),
    ("generation", "speaker_similarity", "Speaker sim."),
    ("generation", "dnsmos_ovrl", "DNSMOS, generated"),
  ):
    if (m := results[group].get(name)) and m["mean"] is not None:
      ceiling = results["ground_truth"].get(name, {}).get("mean")
      note = interval(m["ci95"])
      if group == "generation" and ceiling is not None:
        note = f"originals: {number(ceiling)}"
      facts.append((label, number(m["mean"]), note))
  cells = (
    f"<div><dt>{fragment(label)}</dt><dd>{fragment(value)}"
    f"<small>{fragment(note)}</small></dd></div>"
    for label, value, note in facts
  )
  return f'<dl class="facts">{"".join(cells)}</dl>'


def _training(curves: dict[str, Any]) -> str:
  parts = []
  for stage, names in curves.items():
    panels: dict[str, dict[str, Any]] = {}
    for name, series in names.items():
      split, _, short = name.partition("/")
      panels.setdefault(short or name, {})[split] = series
    drawn = [
      figure(
        training_curve(short, series),
        alt=f"{stage} {short} against training step ({' and '.join(series)})",
      )
      for short, series in panels.items()
    ]
    parts.append(f'<h3>{fragment(stage)}</h3><div class="grid">{"".join(drawn)}</div>')
  if not parts:
    return ""
  note = (
    "Solid: training batches. Dashed with markers: held-out utterances. Where there is"
    " one line a codebook, darker is coarser."
  )
  return tag("p", note) + "\n".join(parts)


def _codebooks(results: dict[str, Any]) -> str:
  size = results["token_spec"]["codebook_size"]
  drawn = []
  for name, label, top in (
    ("codebook_usage", "share of entries used", 1.0),
    ("codebook_perplexity", "perplexity (codes)", float(size)),
  ):
    if values := results["reconstruction"].get(name, {}).get("per_codebook"):
      alt = f"{name} of each codebook: " + ", ".join(f"{v:.3g}" for v in values)
      drawn.append(figure(codebook_bars(values, label=label, top=top), alt=alt))
  if not drawn:
    return ""
  note = f"Over all evaluated utterances, coarse to fine; {size} entries a codebook."
  return tag("p", note) + f'<div class="grid">{"".join(drawn)}</div>'


def _provenance(experiment: Experiment) -> str:
  record, results = experiment.record, experiment.results
  config = json.dumps(record["config"], indent=2, ensure_ascii=False)
  versions = {**results["versions"], **record["versions"]}
  return "\n".join(
    (
      "<h3>Command</h3>" + tag("pre", record["command"]),
      f"<details><summary>Config</summary>{tag('pre', config)}</details>",
      "<details><summary>Versions</summary>"
      + table(("package", "version"), sorted(versions.items()))
      + "</details>",
      "<details><summary>Weights</summary>"
      + table(("model", "sha256"), results["models"].items(), code=(1,))
      + "</details>",
    )
  )
