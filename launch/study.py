"""Runs the study's grid: `python launch/study.py --config=configs/study.py:runlocal`.

Each cell of the grid runs launch/main.py in a process of its own. The same command,
given again, continues where the last run stopped. `--dry_run` prints the cells'
commands instead, for a cluster, and `--collect` sums up cells that ran elsewhere. Exit
codes: 0 all done, 1 a cell failed, 2 bad input, 130 stopped by Ctrl-C and 143 by
SIGTERM (both save first).
"""

import json
import pathlib
import shlex
import sys
from collections.abc import Callable

import errors
from absl import app, flags
from ml_collections import config_flags

from jaxcodec import files
from jaxcodec.build.check import check
from jaxcodec.build.codec import make_codec, with_defaults
from jaxcodec.build.fields import ConfigError
from jaxcodec.build.resolve import resolve
from jaxcodec.build.sizes import part_sizes
from jaxcodec.data.source import DataError
from jaxcodec.recipes import config_file
from jaxcodec.report.study import page, tables
from jaxcodec.stages import WorkdirInUse
from jaxcodec.study import collect, conditions, grid, runner, saved
from jaxcodec.study.sentences import read_sentences

_CONFIG = config_flags.DEFINE_config_file("config", None, "The study's config.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the results; default runs/<name of the config>."
)
_SET = flags.DEFINE_multi_string(
  "set",
  [],
  "Sets a field in every cell's config, name=value, or only in those of one language"
  " model, slm:name=value; may be repeated.",
)
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print one command a cell, run none.")
_JOBS = flags.DEFINE_integer(
  "jobs",
  1,
  "How many cells run at once, each with its share of the cores and GPUs.",
  lower_bound=1,
)
_COLLECT = flags.DEFINE_bool(
  "collect", False, "Run no cell; sum up those that are done."
)
_ADD_SEEDS = flags.DEFINE_list(
  "add_seeds",
  [],
  "Runs the cells of more seeds, such as 1,2, for the study in the workdir, with the"
  " settings of its study.json whatever --config says.",
)
flags.mark_flag_as_required("config")


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
  try:
    sys.exit(_study())
  except (grid.StudyError, DataError, WorkdirInUse, OSError) as error:
    sys.exit(errors.fail(error))


def _study() -> int:
  workdir = pathlib.Path(_WORKDIR.value or _default_workdir())
  settings, known = _settings(workdir)
  program = pathlib.Path(sys.argv[0]).with_name("main.py")
  cells = grid.plan(settings, workdir, str(program))
  configs = {c.name: with_defaults(_config_of(c)) for c in cells}
  specs = {name: _spec_of(config) for name, config in configs.items()}
  alone = {c.name: conditions.of_codec(configs[c.name]) for c in cells if not c.slm}
  for line in conditions.check_matched({**configs, **alone}, specs).encoder:
    print(f"rows differ in {line}", file=sys.stderr)
  if _DRY_RUN.value:
    again = [arg for arg in sys.argv if arg.lstrip("-") != "dry_run"]
    print(grid.as_lines(cells, f"python {shlex.join(again)}"))
    return 0
  if not _COLLECT.value:
    wanted = [c for c in cells if c.seed not in known]
    runner.run_cells(wanted, workdir, jobs=_JOBS.value)
  return _sum_up(settings, cells, workdir)


def _settings(workdir: pathlib.Path) -> tuple[dict, list[int]]:
  """Returns the settings, and the seeds whose cells don't run again."""
  if not _ADD_SEEDS.value:
    settings = json.loads(_CONFIG.value.to_json())
    settings["overrides"] = [*settings["overrides"], *_SET.value]
    return settings, []
  if _SET.value:
    raise grid.StudyError("--add_seeds: --set can't change a study that is done")
  settings = saved.read_numbers(workdir / saved.FILE)["settings"]
  added = [text.strip() for text in _ADD_SEEDS.value]
  # The same command again goes on with the cells of its own seeds.
  known = [seed for seed in settings["seeds"] if str(seed) not in added]
  return grid.with_seeds(settings, _ADD_SEEDS.value), known


def _default_workdir() -> pathlib.Path:
  file, _, arg = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
  return pathlib.Path("runs") / "-".join(filter(None, (pathlib.Path(file).stem, arg)))


def _config_of(cell: grid.Cell) -> dict:
  """Returns a cell's config with its overrides, checked before any cell runs."""
  try:
    config = config_file.load(cell.config, cell.overrides, option="overrides")
  except ValueError as error:
    raise grid.StudyError(str(error)) from error
  values = json.loads(config.to_json())
  try:
    check(resolve(values))
  except ConfigError as error:
    raise grid.StudyError(f"{error} (in {cell.config})") from error
  return values


def _spec_of(config: dict) -> dict:
  """Returns what `conditions.check_matched` compares of a codec's token spec."""
  spec = make_codec(config).spec
  return {
    "num_codebooks": spec.num_codebooks,
    "frame_rate": spec.frame_rate,
    "bitrate": spec.bitrate,
  }


def _sum_up(settings: dict, cells: list[grid.Cell], workdir: pathlib.Path) -> int:
  study = collect.collect(
    settings,
    cells,
    # What was run elsewhere since is in the cells' folders alone.
    {} if _COLLECT.value else runner.read_status(workdir),
    with_defaults=lambda config: _if_it_builds(with_defaults, config, config),
    sizes_of=lambda config: _if_it_builds(part_sizes, config, {}),
  )
  text = tables.to_markdown(study)
  files.write_json(workdir / "study.json", study)
  files.write_text(workdir / "study.csv", tables.to_csv(study))
  files.write_text(workdir / "study.md", text)
  done = [c for c in cells if study["cells"][c.name]["state"] == runner.DONE]
  sentences = read_sentences(done, **settings["listening"])
  files.write_text(workdir / "report.html", page.render_html(study, sentences))
  print(f"\n{text}\nreport: {(workdir / 'report.html').resolve()}")
  return int(any(cell["state"] != runner.DONE for cell in study["cells"].values()))


def _if_it_builds(
  function: Callable[[dict], dict], config: dict, otherwise: dict
) -> dict:
  """Calls a function of a finished cell's config, which may be too old to build."""
  try:
    return function(config)
  except ConfigError:
    return otherwise


if __name__ == "__main__":
  app.run(main, flags_parser=errors.parse)
