"""The command line, `jaxcodec COMMAND`.

Exit codes: 0 done, 1 the language model spoke nothing for some output or `doctor` found
a fault, 2 bad input, 130 stopped by Ctrl-C. Whatever the code, no file is half written.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence

from jaxcodec import __version__, files, token_file
from jaxcodec.cli import contents, encode_decode, evaluate, synthesize, weight_files
from jaxcodec.cli import data as data_command
from jaxcodec.cli import push as push_command


def main(argv: Sequence[str]) -> int:
  """Runs a command; returns the exit code."""
  bare = encode_decode.BARE
  arguments = _parser().parse_args([bare.get(given, given) for given in argv])
  arguments.command = shlex.join(["jaxcodec", *argv])
  resumes = "inputs" in arguments and not getattr(arguments, "stream", False)
  without = " without --overwrite" if getattr(arguments, "overwrite", False) else ""
  again = f"; the same command{without} goes on" if resumes else ""
  try:
    return arguments.run(arguments) or 0
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except (AssertionError, RuntimeError):
    if (problem := _platform_problem()) is None:
      raise
    print(f"error: {problem}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print(f"stopped; what was written is whole{again}", file=sys.stderr)
    return 130


def _platform_problem() -> str | None:
  """Says why JAX has no devices; None if it has, so that the error is another."""
  if "jax" not in sys.modules:
    return None
  from jaxcodec.doctor.devices import start_problem

  return start_problem()


def script() -> None:
  """Runs `main` as the installed command, with a cache of compiled programs."""
  # JAX reads this when it is imported, which not every command does.
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(files.cache_folder() / "xla"))
  sys.exit(main(sys.argv[1:]))


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    "jaxcodec", description="Neural audio codecs, and speech on their tokens."
  )
  parser.add_argument("--version", action="version", version=__version__)
  commands = parser.add_subparsers(required=True, metavar="COMMAND")
  encode_decode.add_commands(commands)
  synthesize.add_command(commands)
  evaluate.add_command(commands)
  weight_files.add_commands(commands)
  push_command.add_command(commands)
  info = commands.add_parser("info", help="the header of token files")
  info.add_argument("files", nargs="+", help=f"{token_file.SUFFIX} files")
  info.set_defaults(run=_info)
  data_command.add(commands)
  contents.add(commands)
  doctor = commands.add_parser("doctor", help="whether this machine can train")
  doctor.add_argument("--config", metavar="FILE[:ARG]", help="whose data to time, too")
  doctor.add_argument(
    "--set", action="append", default=[], metavar="FIELD=VALUE", help="in that config"
  )
  doctor.set_defaults(run=_doctor)
  return parser


def _info(arguments: argparse.Namespace) -> None:
  for path in arguments.files:
    header = token_file.read_header(path)
    print(f"{path}: {json.dumps(header, indent=2, sort_keys=True)}")


def _doctor(arguments: argparse.Namespace) -> int:
  from jaxcodec import doctor
  from jaxcodec.recipes import config_file

  if arguments.set and not arguments.config:
    raise ValueError("--set is for --config alone, whose fields it sets")
  config = arguments.config and config_file.load(arguments.config, arguments.set)
  failed = False
  for diagnosis in doctor.run(config or None):
    print(diagnosis, flush=True)
    failed |= diagnosis.status == "FAIL"
  return int(failed)
