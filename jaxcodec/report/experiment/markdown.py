"""The experiment's report in Markdown, for a terminal or a repository."""

import json

from jaxcodec.evals.workdir import WorkdirContents
from jaxcodec.report.experiment import measures
from jaxcodec.report.format import align, format_table, number


def render_markdown(contents: WorkdirContents) -> str:
  """Returns the whole report."""
  record, results = contents.record, contents.results
  parts = [
    f"# {contents.name}",
    *_tokens(results["token_spec"]),
    "## Results",
    format_table(results),
    *_language_model(results),
    *_failures(results),
    *_training(contents),
    "## Command",
    f"```sh\n{record['command']}\n```",
    "## Config",
    f"```json\n{json.dumps(record['config'], indent=2, ensure_ascii=False)}\n```",
    "## Weights",
    "\n".join(f"- {name}: `{digest}`" for name, digest in results["models"].items()),
    "## Versions",
    "\n".join(
      f"- {name} {version}"
      for name, version in sorted({**results["versions"], **record["versions"]}.items())
    ),
  ]
  return "\n\n".join(parts) + "\n"


def _tokens(spec) -> list[str]:
  if not spec:
    return []
  return [
    f"Tokens: {spec['num_codebooks']} codebooks of {spec['codebook_size']},"
    f" {spec['frame_rate']:g} frames/s, {spec['bitrate'] / 1000:.2f} kbit/s at"
    f" {spec['sample_rate']} Hz."
  ]


def _language_model(results) -> list[str]:
  table = measures.language_model(results)
  if not table.rows:
    return []
  title = "Language model on held-out tokens"
  return [title, align([tuple(table.head), *table.rows]), table.caption]


def _failures(results) -> list[str]:
  lines = [
    f"- {row['id']} ({row['set']}), {metric}: {reason}"
    for row in results["utterances"]
    for metric, reason in row["failed"].items()
  ]
  return ["## Failed measurements", "\n".join(lines)] if lines else []


def _training(contents: WorkdirContents) -> list[str]:
  """Returns the last value of every training metric, averaged over codebooks."""
  rows = [
    (f"{stage} {name}", str(steps[-1]), number(float(values[-1].mean())))
    for stage, names in contents.curves.items()
    for name, (steps, values) in names.items()
  ]
  if not rows:
    return []
  return ["## Training, last values", align([("metric", "step", "value"), *rows])]
