"""Measures the files of any codec or TTS beside their originals."""

import contextlib
import itertools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxcodec import files
from jaxcodec.cli import file_clips, file_tree, paired_files, recording_parts
from jaxcodec.cli.file_clips import GENERATION, KINDS, RECONSTRUCTION, Clips, FileClips
from jaxcodec.cli.paired_files import Checked, Folders
from jaxcodec.cli.scanning import Skipped
from jaxcodec.data.audio.files import write_wav
from jaxcodec.evals.delay import Delay
from jaxcodec.evals.evaluate import SetMeasures, evaluate_shown, load_metrics
from jaxcodec.evals.metric import Metric
from jaxcodec.evals.registry import METRICS, make_metrics
from jaxcodec.evals.results import build_results, write_results
from jaxcodec.report.experiment import write_report
from jaxcodec.report.experiment.listening import MAX_UTTERANCES

RESULTS, RECORD, SKIPPED, AUDIO = "results.json", "config.json", "skipped.json", "audio"
OUTPUTS = (RESULTS, RECORD, SKIPPED, AUDIO, "report.html", "report.md")
_STAGE = "evaluate"  # a folder of experiments, which have files of these names, too
# What gives a metric what it needs.
_GIVEN_BY = {
  "reference": "audio in time with its reference, --as reconstruction",
  "prompt": "--prompts",
  "text": "texts beside the references, or --texts",
  "utmos": "--utmos",
  "spec": "a codec's tokens",
}


class Settings(NamedTuple):
  """How files are measured.

  Attributes:
    measured_as: `reconstruction`, `generation`, or None to tell by the lengths.
    metrics: names; None for all that have what they need.
    sample_rate: Hz; None for the generated files' own.
    models: keywords of `make_metrics`.
    on_error: `raise` or `skip` what doesn't pair and what is bad.
  """

  measured_as: str | None
  metrics: Sequence[str] | None
  sample_rate: int | None
  models: Mapping[str, Any]
  on_error: str


class Evaluation(NamedTuple):
  """The content of results.json, what is left out and why, and lines for the user."""

  results: dict[str, Any]
  skipped: Skipped
  remarks: list[str]


def evaluate_files(
  folders: Folders,
  out: pathlib.Path,
  settings: Settings,
  *,
  overwrite: bool,
  command: str,
) -> Evaluation:
  """Measures files and writes results, a report and the sounds in it.

  The outputs appear together, after all is measured.

  Args:
    folders: of files that pair.
    out: folder of the outputs.
    settings: how to measure.
    overwrite: whether outputs that are there may be replaced.
    command: the command line, for the report.

  Raises:
    ConfigError, DataError, ValueError: before any work.
  """
  _check_out(out, overwrite)
  _check_inputs(folders, out)
  checked = paired_files.pair_files(folders, settings.on_error)
  measured_as = settings.measured_as or file_clips.guess_set(checked)
  rate = file_clips.choose_rate(checked, settings.sample_rate)
  names, remarks = _choose(checked, measured_as, settings)
  metrics = {
    name: make_metrics(chosen, **settings.models) for name, chosen in names.items()
  }
  recordings = checked.recordings
  if measured_as == RECONSTRUCTION:
    metrics[measured_as].append(Delay())
    recordings = recording_parts.cut_long(recordings, checked.infos)
  clips = FileClips(
    recordings, measured_as, rate, _wavs(measured_as), settings.on_error
  )
  of_set = {measured_as: clips.generated(), "ground_truth": clips.originals()}
  config = {
    **{name: value and str(value) for name, value in folders._asdict().items()},
    **{
      "as": measured_as,
      "sample_rate": rate,
      "evaluate": {**settings.models, **names},
    },
  }
  results = _measure(of_set, metrics, config)
  skipped = [*checked.skipped, *clips.failures.listed()]
  with _whole(out) as folder:
    write_results(folder / RESULTS, results)
    record = {"config": config, "command": command, "versions": results["versions"]}
    files.write_json(folder / RECORD, record)
    if skipped:
      files.write_json(folder / SKIPPED, skipped)
    _write_sounds(folder, of_set[measured_as])
    write_report(folder)
  cut = sum(one.part is not None for one in recordings)
  said = _said(checked, measured_as, rate, cut)
  return Evaluation(results, skipped, [said, *remarks])


def _check_out(out: pathlib.Path, overwrite: bool) -> None:
  """Finds what would fail after all is measured; see `evaluate_files`."""
  if (out / _STAGE).exists():
    raise ValueError(f"--out: {out} is an experiment's work directory; choose another")
  if out.exists() and not out.is_dir():
    raise ValueError(f"--out: {out} is a file; expected a folder")
  there = next(path for path in (out, *out.resolve().parents) if path.exists())
  if not os.access(there, os.W_OK | os.X_OK):
    raise ValueError(f"--out: no files can be written in {there}")
  if not overwrite:
    file_tree.refuse_existing([out / name for name in OUTPUTS])


def _check_inputs(folders: Folders, out: pathlib.Path) -> None:
  """Raises ValueError where an input is, or lies in, what the outputs replace."""
  replaced = [(out / name).resolve() for name in OUTPUTS]
  for name, path in folders._asdict().items():
    whole = path and path.resolve()
    if whole and any(one == whole or one in whole.parents for one in replaced):
      raise ValueError(
        f"--out: {out} would have its own {path.name} in the place of --{name} {path};"
        " choose another"
      )


def _choose(
  checked: Checked, measured_as: str, settings: Settings
) -> tuple[dict[str, list[str]], list[str]]:
  """Returns the metrics' names by set, and a line on those that lack something."""
  wanted = list(METRICS) if settings.metrics is None else list(settings.metrics)
  there = {
    "reference": measured_as == RECONSTRUCTION,
    "prompt": checked.recordings[0].prompt is not None,
    "text": any(r.text is not None for r in checked.recordings),
    "utmos": "utmos" in settings.models,
  }
  lacking: dict[str, list[str]] = {}
  for name in wanted:
    for needed in METRICS.lookup(name).needs:
      if not there.get(needed):
        lacking.setdefault(_GIVEN_BY.get(needed, needed), []).append(name)
  said = [f"{', '.join(names)}: without {given}" for given, names in lacking.items()]
  if lacking and settings.metrics is not None:
    raise ValueError(f"--metrics: {'; '.join(said)}")
  left_out = {name for names in lacking.values() for name in names}
  chosen = [name for name in wanted if name not in left_out]
  alone = [name for name in chosen if "reference" not in METRICS.lookup(name).needs]
  remarks = [f"not measured, {line}" for line in said]
  return {measured_as: chosen, "ground_truth": alone}, remarks


def _measure(
  clips: Mapping[str, Clips],
  metrics: Mapping[str, list[Metric]],
  config: Mapping[str, Any],
) -> dict[str, Any]:
  evaluations: dict[str, SetMeasures] = {}
  absent: dict[str, str] = {}
  models: dict[str, str] = {}
  for name, of_set in clips.items():
    loaded = load_metrics(metrics[name])
    absent |= loaded.absent
    models |= loaded.models
    if loaded.metrics:
      evaluations[name] = evaluate_shown(name, of_set, loaded.metrics)
  asked = {metric.name: metric for of_set in metrics.values() for metric in of_set}
  return build_results(
    evaluations,
    list(asked.values()),
    token_spec=None,
    config=config,
    models=models,
    absent=absent,
  )


def _said(checked: Checked, measured_as: str, rate: int, cut: int) -> str:
  """Says as what the files were measured, at which rate, and in how many parts."""
  what = {
    RECONSTRUCTION: "in time with their references (as reconstruction)",
    GENERATION: "with timing of their own (as generation)",
  }[measured_as]
  others = sorted({info.sample_rate for info in checked.infos.values()} - {rate})
  said = f"{len(checked.recordings)} files measured {what}, at {rate} Hz"
  if cut:
    said += (
      f"; those over {recording_parts.LONGEST_S} s in {cut} parts of"
      f" {recording_parts.PART_S} s, without texts"
    )
  if not others:
    return said
  return f"{said}; resampled to it from {', '.join(map(str, others))} Hz"


def _wavs(measured_as: str) -> Callable[[int], dict[str, str]]:
  """Returns a function that gives the sound files in the report of each clip."""

  def wavs(index: int) -> dict[str, str]:
    kinds = ("original", KINDS[measured_as]) if index < MAX_UTTERANCES else ()
    return {kind: f"{AUDIO}/{index:02}.{kind}.wav" for kind in kinds}

  return wavs


def _write_sounds(folder: pathlib.Path, clips: Clips) -> None:
  """Writes the sounds of the first clips, which the report shows."""
  for clip in itertools.islice(clips, MAX_UTTERANCES):
    for kind, path in clip.wavs.items():
      sound_N = clip.reference if kind == "original" else clip.audio
      if sound_N is not None:
        write_wav(folder / path, sound_N, clip.sample_rate)


@contextlib.contextmanager
def _whole(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a folder of the same name, whose files come to `out` if no error ends it."""
  out, there = out.resolve(), out.exists()
  out.mkdir(parents=True, exist_ok=True)
  # Inside, as `out` may be a file system of its own; the report's title is its name.
  with (
    contextlib.ExitStack() as unless_whole,
    tempfile.TemporaryDirectory(prefix=".", dir=out) as staging,
  ):
    if not there:
      unless_whole.callback(out.rmdir)
    folder = pathlib.Path(staging) / out.name
    folder.mkdir()
    yield folder
    unless_whole.pop_all()
    for name in OUTPUTS:
      if (out / name).is_dir():
        shutil.rmtree(out / name)
      (out / name).unlink(missing_ok=True)
      if (folder / name).exists():
        os.replace(folder / name, out / name)
