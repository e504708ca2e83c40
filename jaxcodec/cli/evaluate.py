"""`jaxcodec evaluate`: measures files beside their originals, or a run once more."""

import argparse
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

from jaxcodec.data import extras

_OF_FILES = (
  *("reference", "generated", "prompts", "texts", "out", "measured_as", "metrics"),
  *("sample_rate", "overwrite", "on_error"),
)
_THREADS = 2  # as configs have it
# Fields of `config.evaluate`, which the options replace.
_MODELS = ("asr", "language", "speaker", "utmos", "threads")


def add_command(commands: Any) -> None:
  """Adds `evaluate` to the command line's commands."""
  parser = commands.add_parser(
    "evaluate",
    help="measure the audio of any codec or TTS, or a finished run again",
    description="With --reference and --generated, measures the files of any codec or"
    " TTS beside their originals, and writes results.json and report.html as an"
    " experiment does. Files pair by their paths without suffix. With RUN, measures a"
    " finished experiment's speech again.",
  )
  parser.add_argument("run_folder", nargs="?", metavar="RUN", help="work directory")
  parser.add_argument("--reference", metavar="DIR", help="original recordings")
  parser.add_argument("--generated", metavar="DIR", help="what is measured")
  parser.add_argument(
    "--prompts", metavar="DIR", help="recordings of the voice that each should have"
  )
  parser.add_argument(
    "--texts",
    metavar="FILE",
    help="table of what is said, such as metadata.csv; if left out, those that the"
    " reference's folder has",
  )
  parser.add_argument(
    "--out", metavar="DIR", help="default runs/evaluate-<name of the generated folder>"
  )
  parser.add_argument(
    "--as",
    dest="measured_as",
    choices=("reconstruction", "generation"),
    help="whether files are in time with their references, as coded ones, or have"
    " timing of their own; told by their lengths if left out",
  )
  parser.add_argument(
    "--metrics", metavar="NAME,NAME", help="all that have what they need if left out"
  )
  parser.add_argument(
    "--sample-rate",
    type=int,
    metavar="HZ",
    help="at which to measure; the generated files' own if left out",
  )
  _add_models(parser)
  parser.add_argument(
    "--overwrite", action="store_true", help="replace outputs that are there already"
  )
  parser.add_argument(
    "--on-error",
    choices=("raise", "skip"),
    help="at bad files and those without counterparts, stop before any work, or list"
    " them in skipped.json and go on",
  )
  parser.set_defaults(run=_evaluate)


def _add_models(parser: argparse.ArgumentParser) -> None:
  group = parser.add_argument_group("models, as docs/protocol.md lists them")
  group.add_argument("--asr", metavar="MODEL", help="recogniser of wer and cer")
  group.add_argument(
    "--language",
    metavar="NAME",
    help="of the speech, such as de, for wer and cer; English if left out",
  )
  group.add_argument("--speaker", metavar="MODEL", help="of speaker_similarity")
  group.add_argument("--utmos", metavar="FILE", help="utmos_scripted.pt, for utmos")
  group.add_argument(
    "--threads", type=int, metavar="N", help="of each model that isn't in JAX"
  )


def _evaluate(arguments: argparse.Namespace) -> None:
  if absent := extras.missing(extras.EXTRAS["report"]):
    raise ValueError(
      f"the report needs {', '.join(absent)}: {extras.install_line(absent)}"
    )
  if arguments.run_folder is None:
    _evaluate_files(arguments)
  else:
    _evaluate_run(arguments)


def _given(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
  """Returns the options that the user gave."""
  options = {name: getattr(arguments, name) for name in names}
  return {name: value for name, value in options.items() if value not in (None, False)}


def _evaluate_run(arguments: argparse.Namespace) -> None:
  if unused := _given(arguments, _OF_FILES):
    names = [name.replace("measured_", "").replace("_", "-") for name in unused]
    raise ValueError(
      f"a run's speech is measured as its config says, without --{', --'.join(names)}"
    )
  from jaxcodec.pipeline import evaluate_again
  from jaxcodec.stages import WorkdirInUse

  try:
    evaluate_again(arguments.run_folder, _given(arguments, _MODELS))
  except WorkdirInUse as error:
    raise ValueError(str(error)) from error


def _evaluate_files(arguments: argparse.Namespace) -> None:
  if arguments.reference is None or arguments.generated is None:
    raise ValueError("expected a RUN, or both --reference and --generated")
  from jaxcodec.cli import evaluate_files, left_out
  from jaxcodec.cli.paired_files import Folders
  from jaxcodec.data.audio.decoding import MAX_RATE, MIN_RATE
  from jaxcodec.data.audio.files import SUFFIXES
  from jaxcodec.report.format import format_table

  if (rate := arguments.sample_rate) is not None and not MIN_RATE <= rate <= MAX_RATE:
    raise ValueError(f"--sample-rate: expected {MIN_RATE} to {MAX_RATE} Hz, got {rate}")
  paths = (arguments.reference, arguments.generated, arguments.prompts, arguments.texts)
  folders = Folders(*(path and pathlib.Path(path) for path in paths))
  out = arguments.out or f"runs/evaluate-{folders.generated.resolve().name}"
  models = {"threads": _THREADS, **_given(arguments, _MODELS)}
  if "speaker" in models:
    models["speaker_model"] = models.pop("speaker")
  metrics = arguments.metrics and arguments.metrics.split(",")
  done = evaluate_files.evaluate_files(
    folders,
    pathlib.Path(out),
    evaluate_files.Settings(
      arguments.measured_as, metrics, rate, models, arguments.on_error or "raise"
    ),
    overwrite=arguments.overwrite,
    command=arguments.command,
  )
  print(f"\n{format_table(done.results)}\n")
  measured = [path for path in (arguments.generated, arguments.prompts) if path]
  others = left_out.describe(measured, SUFFIXES)
  for line in (*done.remarks, *filter(None, [others])):
    print(line)
  for entry in done.skipped:
    print(f"skipped: {entry['reason']}", file=sys.stderr)
  print(f"report: {pathlib.Path(out, 'report.html').resolve()}")
