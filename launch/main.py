"""Runs an experiment: `python launch/main.py --config=configs/dac_maskgit.py:runlocal`.

Any value of the config can be set on the command line, e.g. `--config.seed=1`. The same
command, given again, continues where the last run stopped. Exit codes: 0 done, 2 bad
input, 130 stopped by Ctrl-C and 143 by SIGTERM (both save first), 1 any other failure.
SIGTERM to one of several processes stops all of them.

To run several processes, on one machine or many, give each the same command with its
own number, and a work directory that all of them see:

    python launch/main.py ... --coordinator=HOST:PORT --num_processes=2 --process_id=0
    python launch/main.py ... --coordinator=HOST:PORT --num_processes=2 --process_id=1

HOST is the machine of process 0. Within `srun` of several tasks (one a GPU) and on TPU
pods of GKE no flags are needed; `--coordinator=auto` also asks Kubernetes and Compute
Engine for them.

    python launch/main.py --config=... --dry_run --devices=256

prints what training would cost on 256 devices, without needing any.
"""

import logging as std_logging
import pathlib
import shlex
import sys

import errors
import jax
from absl import app, flags, logging
from ml_collections import config_flags

from jaxcodec import files, pipeline, progress
from jaxcodec.dry_run.command import run as run_dry
from jaxcodec.parallel import processes, program_cache, rendezvous

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment's config.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the results; default runs/<name of the config>."
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "HOST:PORT of process 0, or auto; see the top of this file."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which this is, from 0.")
_START_TIMEOUT = flags.DEFINE_integer(
  "start_timeout", 300, "Seconds to wait for the other processes.", lower_bound=1
)
_CODEC_FROM = flags.DEFINE_string(
  "codec_from",
  None,
  "Another workdir whose finished codec and tokens to use; run the stages after them,"
  " --config.stages=slm,generate,evaluate,report.",
)
_TOKENS_FROM = flags.DEFINE_string(
  "tokens_from",
  None,
  "Another workdir whose tokens to train a decoder for; run --config.stages=codec with"
  " --config.codec_train.freeze and init_from.",
)
_SLM_FROM = flags.DEFINE_string(
  "slm_from",
  None,
  "Another workdir whose generated codes to speak by this codec, of the same tokens;"
  " run --config.stages=generate,evaluate,report.",
)
_KEEP_MEASURES_IN = flags.DEFINE_string(
  "keep_measures_in",
  None,
  "A folder for what several experiments would measure alike: the originals, Opus, MDCT"
  " with k-means, and a codec that they share.",
)
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Print what training would cost on --devices, and do nothing."
)
_DEVICES = flags.DEFINE_string(
  "devices", None, "For --dry_run: a number, or a TPU topology such as v5p:4x4x8."
)
_PACKAGE = str(pathlib.Path(pipeline.__file__).parents[1])
flags.mark_flag_as_required("config")


def _default_workdir() -> str:
  file, _, arg = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")
  name = pathlib.Path(file).stem
  return str(pathlib.Path("runs") / "-".join(filter(None, (name, arg))))


def _is_ours_or_warning(record: std_logging.LogRecord) -> bool:
  """Keeps this package's records, and only the warnings of libraries that use absl."""
  return record.levelno >= std_logging.WARNING or record.pathname.startswith(_PACKAGE)


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
  if _DRY_RUN.value != (_DEVICES.value is not None):
    raise app.UsageError("--dry_run and --devices go together")
  logging.set_verbosity(logging.INFO)
  logging.get_absl_handler().addFilter(_is_ours_or_warning)
  config = _CONFIG.value
  try:
    if _DRY_RUN.value:
      program_cache.keep(files.cache_folder())
      run_dry(config, _DEVICES.value)
      return
    jax.config.update("jax_num_cpu_devices", config.cpu_devices)
    rendezvous.initialize(
      _COORDINATOR.value,
      _NUM_PROCESSES.value,
      _PROCESS_ID.value,
      timeout=_START_TIMEOUT.value,
    )
  # A config file that does not exist raises OSError at its first use.
  except (OSError, rendezvous.LaunchError, *pipeline.BAD_INPUT) as error:
    sys.exit(errors.fail(error))
  with processes.exit_together():
    _run(config)


def _run(config) -> None:
  workdir = _WORKDIR.value or _default_workdir()
  program_cache.keep(files.cache_folder(), shared=workdir)
  if processes.is_first():
    print(f"workdir: {workdir}", flush=True)
  else:
    logging.set_verbosity(logging.ERROR)
    progress.silence()
  command = shlex.join(["python", *sys.argv])
  try:
    processes.on_first(lambda: _link(workdir))
    pipeline.run(config, workdir, command=command)
  except pipeline.BAD_INPUT as error:
    sys.exit(errors.fail(error))
  except OSError as error:
    if not errors.is_disk(error):
      raise
    sys.exit(errors.fail(error))
  except KeyboardInterrupt:
    print("stopped; the same command goes on from here", file=sys.stderr)
    sys.exit(130)


def _link(workdir) -> None:
  for option, use in (
    (_CODEC_FROM, pipeline.use_codec_of),
    (_TOKENS_FROM, pipeline.use_tokens_of),
    (_SLM_FROM, pipeline.use_slm_of),
    (_KEEP_MEASURES_IN, pipeline.keep_measures_in),
  ):
    if option.value is not None:
      use(option.value, workdir)


if __name__ == "__main__":
  app.run(main, flags_parser=errors.parse)
