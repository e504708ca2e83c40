"""The command line `jaxcodec COMMAND ...`.

Exit codes: 0 done, 1 the language model spoke nothing for some output or `doctor` found
a fault, 2 bad input, 130 stopped by Ctrl-C. Whatever the code, no file is half written.
"""

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxcodec import __version__, files, token_file
from jaxcodec.cli import contents, left_out, synthesize, unfinished
from jaxcodec.cli import data as data_command

if TYPE_CHECKING:
  from jaxcodec.api import CodecModel
  from jaxcodec.cli.file_tree import FilePair

SKIPPED = "skipped.json"


def main(argv: Sequence[str]) -> int:
  """Runs a command; returns the exit code."""
  arguments = _parser().parse_args(argv)
  again = "; the same command goes on" if "inputs" in arguments else ""
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
  encode = commands.add_parser("encode", help="audio files to token files")
  _add_files(encode, "sound files, or folders of them; - is standard input")
  encode.add_argument(
    "--num-codebooks", type=int, metavar="K", help="only the first K codebooks"
  )
  encode.add_argument(
    "--channels",
    choices=("average", "keep"),
    default="average",
    help="average a recording's channels, or code each; decode joins them again",
  )
  encode.set_defaults(run=_encode)
  decode = commands.add_parser("decode", help="token files to wav files")
  _add_files(decode, f"{token_file.SUFFIX} files, folders of them; -: standard input")
  decode.add_argument(
    "--any-weights",
    action="store_true",
    help="also decode tokens that were made with other weights",
  )
  decode.set_defaults(run=_decode)
  synthesize.add_command(commands)
  convert = commands.add_parser("convert", help="published weights to ours, and back")
  convert.add_argument("source", help="published weights, or our params.safetensors")
  convert.add_argument("--preset", help="not needed if the weights say which codec")
  convert.add_argument("--out", required=True, help="file to write, or folder")
  convert.add_argument(
    "--layout",
    choices=("original", "huggingface"),
    help="in which to write ours back; as they came if left out",
  )
  convert.add_argument(
    "--verify", action="store_true", help="compare on probe audio with the original"
  )
  convert.set_defaults(run=_convert)
  export = commands.add_parser(
    "export", help="a trained run's weights in float16, with a model card"
  )
  export.add_argument("run_folder", metavar="RUN", help="work directory")
  export.add_argument("--out", required=True, metavar="DIR")
  export.add_argument(
    "--part",
    choices=("codec", "slm"),
    default="codec",
    help="the codec, or the language model with the codec that it speaks through",
  )
  export.set_defaults(run=_export)
  contents.add(commands)
  info = commands.add_parser("info", help="the header of token files")
  info.add_argument("files", nargs="+", help=f"{token_file.SUFFIX} files")
  info.set_defaults(run=_info)
  data_command.add(commands)
  doctor = commands.add_parser("doctor", help="whether this machine can train")
  doctor.add_argument("--config", metavar="FILE[:ARG]", help="whose data to time, too")
  doctor.add_argument(
    "--set", action="append", default=[], metavar="FIELD=VALUE", help="in that config"
  )
  doctor.set_defaults(run=_doctor)
  return parser


def _add_files(parser: argparse.ArgumentParser, what: str) -> None:
  parser.add_argument("inputs", nargs="+", metavar="FILE_OR_DIR", help=what)
  parser.add_argument("--preset", help="not needed if the weights say which codec")
  parser.add_argument(
    "--weights", help="file, work directory, or name of a codec that comes along"
  )
  parser.add_argument(
    "--out", required=True, metavar="DIR", help="gets the same tree; - is stdout"
  )
  parser.add_argument(
    "--overwrite", action="store_true", help="replace outputs that are there already"
  )
  parser.add_argument(
    "--on-error",
    choices=("raise", "skip"),
    default="raise",
    help=f"at a bad input, stop before any work, or list it in {SKIPPED} and go on",
  )


def _encode(arguments: argparse.Namespace) -> None:
  from jaxcodec.cli import codec_files, file_tree, standard_streams
  from jaxcodec.data.audio.files import SUFFIXES

  with standard_streams.as_files(arguments.inputs, arguments.out, SUFFIXES[0]) as given:
    pairs = file_tree.plan(*given, SUFFIXES, token_file.SUFFIX)
    resumed = unfinished.is_there(given[1]) and not arguments.overwrite
    if not resumed and not arguments.overwrite:
      file_tree.refuse_existing([pair.target for pair in pairs])
    codec = _codec(arguments)
    wanted = {name: getattr(arguments, name) for name in ("num_codebooks", "channels")}
    settings = {"command": "encode", "weights": codec.fingerprint, **wanted}
    missing = unfinished.missing(given[1], settings, pairs) if resumed else pairs
    skipped = codec_files.encode_files(
      codec,
      missing,
      **wanted,
      on_error=arguments.on_error,
      note=unfinished.noted(given[1], settings),
    )
  _report(arguments, pairs, missing, skipped, left_out.describe(given[0], SUFFIXES))


def _decode(arguments: argparse.Namespace) -> None:
  from jaxcodec.cli import codec_files, file_tree, standard_streams

  suffixes = (token_file.SUFFIX,)
  with standard_streams.as_files(arguments.inputs, arguments.out, suffixes[0]) as given:
    pairs = file_tree.plan(*given, suffixes, ".wav")
    resumed = unfinished.is_there(given[1]) and not arguments.overwrite
    codec = _codec(arguments)
    settings = {"command": "decode", "weights": codec.fingerprint}
    missing = unfinished.missing(given[1], settings, pairs) if resumed else pairs
    skipped = codec_files.decode_files(
      codec,
      missing,
      any_weights=arguments.any_weights,
      overwrite=arguments.overwrite,
      resume=resumed,
      on_error=arguments.on_error,
      note=unfinished.noted(given[1], settings),
    )
  _report(arguments, pairs, missing, skipped, left_out.describe(given[0], suffixes))


def _codec(arguments: argparse.Namespace) -> "CodecModel":
  from jaxcodec import shipped
  from jaxcodec.api import CodecModel, load

  if arguments.weights is None and arguments.preset not in shipped.codecs():
    raise ValueError(
      f"--weights is missing; only --preset {' or '.join(shipped.codecs())} needs none"
    )
  model = load(arguments.preset, arguments.weights)
  if not isinstance(model, CodecModel):
    raise ValueError(f"--preset {arguments.preset} is a vocoder: it makes no tokens")
  return model


def _report(
  arguments: argparse.Namespace,
  pairs: Sequence["FilePair"],
  missing: Sequence["FilePair"],
  skipped: Sequence[dict[str, str]],
  others: str | None,
) -> None:
  """Says what was done, on stderr if stdout has the result."""
  streamed = arguments.out == "-"
  out = sys.stderr if streamed else sys.stdout
  before = f", {len(pairs) - len(missing)} of them before" if pairs != missing else ""
  done = len(pairs) - len(skipped)
  print(f"{done} of {len(pairs)} files done{before}, in {arguments.out}", file=out)
  if others:
    print(others, file=out)
  if arguments.on_error == "skip" and not streamed:
    files.write_json(pathlib.Path(arguments.out) / SKIPPED, skipped)
  for entry in skipped:
    print(f"skipped: {entry['reason']}", file=sys.stderr)


def _convert(arguments: argparse.Namespace) -> None:
  from jaxcodec.cli.convert import convert_file

  print(
    convert_file(
      arguments.source,
      arguments.preset,
      arguments.out,
      layout=arguments.layout,
      verify=arguments.verify,
    )
  )


def _export(arguments: argparse.Namespace) -> None:
  from jaxcodec.cli.export import export_run

  print(export_run(arguments.run_folder, arguments.out, arguments.part))


def _info(arguments: argparse.Namespace) -> None:
  for path in arguments.files:
    header = token_file.read_header(path)
    print(f"{path}: {json.dumps(header, indent=2, sort_keys=True)}")


def _doctor(arguments: argparse.Namespace) -> int:
  from jaxcodec import doctor
  from jaxcodec.recipes import config_file

  config = arguments.config and config_file.load(arguments.config, arguments.set)
  failed = False
  for diagnosis in doctor.run(config or None):
    print(diagnosis, flush=True)
    failed |= diagnosis.status == "FAIL"
  return int(failed)
