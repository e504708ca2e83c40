"""Writes an experiment's report.html and report.md from its work directory."""

import os
import pathlib

from jaxcodec import files
from jaxcodec.evals.workdir import read_workdir
from jaxcodec.report.experiment.markdown import render_markdown
from jaxcodec.report.experiment.page import render_html


def write_report(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes report.html (self-contained) and report.md; returns the former's path.

  Raises:
    FileNotFoundError: config.json or results.json is missing.
    ValueError: a file is malformed; names it.
  """
  workdir = pathlib.Path(workdir)
  contents = read_workdir(workdir)
  files.write_text(workdir / "report.md", render_markdown(contents))
  files.write_text(workdir / "report.html", render_html(contents))
  return workdir / "report.html"
