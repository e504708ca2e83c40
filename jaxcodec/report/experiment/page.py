"""The experiment's report as one HTML file that fetches nothing."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jaxcodec
from jaxcodec.evals.workdir import WorkdirContents
from jaxcodec.report import html
from jaxcodec.report.experiment import listening, measures
from jaxcodec.report.figures import codebook_bars, training_curve
from jaxcodec.report.format import below_yardstick, interval, number


class Fact(NamedTuple):
  """A figure of the page's head, with its label above and a note below."""

  label: str
  value: str
  note: str


# (set, metric, label) of the head's figures.
_HEADLINES = (
  ("reconstruction", "stoi", "STOI, codec"),
  ("reconstruction", "pesq_wb", "PESQ-WB, codec"),
  ("generation", "wer", "WER, generated"),
  ("generation", "speaker_similarity", "Speaker sim."),
  ("generation", "dnsmos_ovrl", "DNSMOS, generated"),
)


def render_html(contents: WorkdirContents) -> str:
  """Returns the whole page."""
  record, results = contents.record, contents.results
  articles = listening.make_articles(contents.utterances)
  return html.render(
    "experiment.html",
    title=contents.name,
    version=jaxcodec.__version__,
    facts=_facts(results),
    set_tables=measures.set_tables(results),
    below_yardstick=below_yardstick(results),
    language_model=measures.language_model(results),
    absent=measures.absent(results),
    failures=measures.failures(results),
    glossary=measures.glossary(results),
    alignment=listening.draw_alignment(contents.alignment),
    articles=articles,
    articles_left=len(contents.utterances) - len(articles),
    curves=_curves(contents.curves),
    codebook_bars=_codebook_bars(results, contents.curves.get("codec", {})),
    codebook_size=(results["token_spec"] or {}).get("codebook_size"),
    utterance_tables=measures.utterance_tables(results),
    command=record["command"],
    config=json.dumps(record["config"], indent=2, ensure_ascii=False),
    versions=html.versions({**results["versions"], **record["versions"]}.items()),
    weights=html.digests(results["models"]),
  )


def _facts(results: Mapping[str, Any]) -> list[Fact]:
  """Returns the tokens, if there are any, and the headline figures."""
  facts = []
  if spec := results["token_spec"]:
    tokens = f"{spec['num_codebooks']} x {spec['codebook_size']}"
    facts.append(Fact("Tokens", tokens, f"{spec['frame_rate']:g} frames/s"))
    facts.append(Fact("Bitrate", f"{spec['bitrate'] / 1000:.2f}", "kbit/s"))
  for name, metric, label in _HEADLINES:
    m = results[name].get(metric)
    if m and m["mean"] is not None:
      ceiling = results["ground_truth"].get(metric, {}).get("mean")
      note = interval(m["ci95"])
      if name == "generation" and ceiling is not None:
        note = f"originals: {number(ceiling)}"
      facts.append(Fact(label, number(m["mean"]), note))
  return facts


def _curves(curves: Mapping[str, Any]) -> dict[str, list[html.Picture]]:
  """Returns a panel for every metric, with training and held-out curves, by stage."""
  pictures = {}
  for stage, names in curves.items():
    panels: dict[str, dict[str, Any]] = {}
    for name, series in names.items():
      short = name.removeprefix("eval/")
      panels.setdefault(short, {})["train" if short == name else "eval"] = series
    pictures[stage] = [
      html.Picture(
        training_curve(short, series),
        alt=f"{stage} {short} against training step ({' and '.join(series)})",
      )
      for short, series in panels.items()
    ]
  return pictures


def _codebook_bars(
  results: Mapping[str, Any], curves: Mapping[str, Any]
) -> list[html.Picture]:
  """Returns bars of what is known of each codebook.

  There are none of audio without tokens. Codecs of earlier revisions and those that
  weren't trained have no `snr_db`.
  """
  if not (spec := results["token_spec"]):
    return []
  size, measured = spec["codebook_size"], results["reconstruction"]
  bars = [
    (name, label, top, measured.get(name, {}).get("per_codebook"))
    for name, label, top in (
      ("codebook_usage", "share of entries used", 1.0),
      ("codebook_perplexity", "perplexity (codes)", float(size)),
    )
  ]
  if "eval/snr_db" in curves:
    last = curves["eval/snr_db"][1][-1].tolist()
    bars.append(("snr_db", "held-out SNR of the latent (dB)", max(1.0, *last), last))
  pictures = []
  for name, label, top, values in bars:
    if values:
      alt = f"{name} of each codebook: " + ", ".join(f"{v:.3g}" for v in values)
      pictures.append(html.Picture(codebook_bars(values, label=label, top=top), alt))
  return pictures
