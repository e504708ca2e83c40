"""Runs an experiment: `python launch/main.py --config=configs/dac_maskgit.py:runlocal`.

Any value of the config can be set on the command line, e.g. `--config.seed=1`. The same
command again goes on where the last one stopped. Exit codes: 0 done, 2 bad input,
130 and 143 stopped by Ctrl-C and by SIGTERM, with what was done saved.
"""

import logging as std_logging
import pathlib
import shlex
import sys

import errors
import jax
from absl import app, flags, logging
from ml_collections import config_flags

from jaxcodec import cache, pipeline

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment's config.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the results; default runs/<name of the config>."
)
_CODEC_FROM = flags.DEFINE_string(
  "codec_from",
  None,
  "Another workdir whose finished codec and tokens to use; run the stages after them,"
  " --config.stages=slm,generate,evaluate,report.",
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
  logging.set_verbosity(logging.INFO)
  logging.get_absl_handler().addFilter(_ours_or_serious)
  jax.config.update("jax_compilation_cache_dir", str(cache.folder() / "xla"))
  config = _CONFIG.value
  try:
    jax.config.update("jax_num_cpu_devices", config.cpu_devices)
  except OSError as error:  # raised at the first use of a config that was not found
    sys.exit(errors.fail(error))
  workdir = _WORKDIR.value or _default_workdir()
  print(f"workdir: {workdir}", flush=True)
  command = shlex.join(["python", *sys.argv])
  try:
    if _CODEC_FROM.value is not None:
      pipeline.use_codec_of(_CODEC_FROM.value, workdir)
    pipeline.run(config, workdir, command=command)
  except pipeline.BAD_INPUT as error:
    sys.exit(errors.fail(error))
  except KeyboardInterrupt:
    print("stopped; the same command goes on from here", file=sys.stderr)
    sys.exit(130)


if __name__ == "__main__":
  app.run(main, flags_parser=errors.parse)
