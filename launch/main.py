"""Runs an experiment: `python launch/main.py --config=configs/dac_maskgit.py:runlocal`.

Any value of the config can be set on the command line, e.g. `--config.seed=1`. The same
command again goes on where the last one stopped. Exit codes: 0 done, 2 bad input,
130 and 143 stopped by Ctrl-C and by SIGTERM, with what was done saved.

    python launch/main.py --config=... --dry_run --devices=256

prints what training would cost on so many devices, without any of them.
"""

import logging as std_logging
import pathlib
import shlex
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from jaxcodec import cache, pipeline
from jaxcodec.pipeline import dry_run

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment's config.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the results; default runs/<name of the config>."
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print what training would cost on --devices, and do nothing."
)
_DEVICES = flags.DEFINE_string(
  "devices", None, "Of --dry_run: a number, or a TPU topology such as v5p:4x4x8."
)
_PACKAGE = str(pathlib.Path(pipeline.__file__).parents[1])
flags.mark_flag_as_required("config")


def _default_workdir() -> str:
  file, _, arg = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
  name = pathlib.Path(file).stem
  return str(pathlib.Path("runs") / "-".join(filter(None, (name, arg))))


def _ours_or_serious(record: std_logging.LogRecord) -> bool:
  """Libraries that log through absl tell much that only their authors want."""
  return record.levelno >= std_logging.WARNING or record.pathname.startswith(_PACKAGE)


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
  if _DRY_RUN.value != (_DEVICES.value is not None):
    raise app.UsageError("--dry_run and --devices go together")
  logging.set_verbosity(logging.INFO)
  logging.get_absl_handler().addFilter(_ours_or_serious)
  jax.config.update("jax_compilation_cache_dir", str(cache.folder() / "xla"))
  config = _CONFIG.value
  try:
    if _DRY_RUN.value:
      dry_run.run(config, _DEVICES.value)
      return
    jax.config.update("jax_num_cpu_devices", config.cpu_devices)
  except (OSError, *pipeline.BAD_INPUT) as error:
    sys.exit(_fail(error))  # OSError: at the first use of a config that was not found
  workdir = _WORKDIR.value or _default_workdir()
  print(f"workdir: {workdir}", flush=True)
  command = shlex.join(["python", *sys.argv])
  try:
    pipeline.run(config, workdir, command=command)
  except pipeline.BAD_INPUT as error:
    sys.exit(_fail(error))
  except KeyboardInterrupt:
    print("stopped; the same command goes on from here", file=sys.stderr)
    sys.exit(130)


def _parse(argv: list[str]) -> list[str]:
  """Flags, with one line instead of a traceback for a field that the config lacks."""
  try:
    return flags.FLAGS(argv)
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    sys.exit(_fail(error))


def _fail(error: Exception) -> int:
  text = str(error.args[0] if error.args else error).strip()
  if "Traceback" in text:  # a config's own error, quoted whole by config_flags
    text = text.splitlines()[-1]
  print(f"error: {text}", file=sys.stderr)
  return 2


if __name__ == "__main__":
  app.run(main, flags_parser=_parse)
