"""The commands `jaxcodec convert` and `jaxcodec export`."""

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
  """Adds both to the subparsers of `jaxcodec`."""
  convert = commands.add_parser("convert", help="published weights to ours, and back")
  convert.add_argument(
    "source", help="published weights, their name, or our params.safetensors"
  )
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
    "export", help="a trained run's weights, small, or a codec as programs"
  )
  export.add_argument(
    "codec",
    metavar="RUN",
    help="work directory; for programs any weights that encode takes",
  )
  export.add_argument("--out", required=True, metavar="DIR")
  export.add_argument(
    "--as",
    dest="form",
    choices=("weights", "programs"),
    default="weights",
    help="weights with a model card, or encode and decode as programs of jax.export"
    " that need jax and numpy alone",
  )
  export.add_argument("--preset", help="of programs, if the weights don't say it")
  export.add_argument(
    "--seconds",
    type=float,
    help="of programs, the longest clip that they take (default 40)",
  )
  export.add_argument(
    "--part",
    choices=("codec", "slm"),
    help="of weights: the codec (default), or the language model with the codec that it"
    " speaks through",
  )
  export.add_argument(
    "--bits",
    type=int,
    choices=(16, 8),
    help="of each weight: 16, as float16, or 8 with a scale for every 32 (default 16)",
  )
  export.set_defaults(run=_export)


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


# The options of either form, with what they are if they aren't given.
_OF_FORM: dict[str, dict[str, Any]] = {
  "weights": {"part": "codec", "bits": 16},
  "programs": {"preset": None, "seconds": 40.0},
}


def _export(arguments: argparse.Namespace) -> None:
  from jaxcodec.cli import export

  for form, options in _OF_FORM.items():
    for name, default in options.items():
      if getattr(arguments, name) is None:
        setattr(arguments, name, default)
      elif form != arguments.form:
        raise ValueError(f"--{name} is for --as {form} alone")
  if arguments.form == "weights":
    run, out, part = arguments.codec, arguments.out, arguments.part
    print(export.export_run(run, out, part, bits=arguments.bits))
  else:
    given = arguments.preset, arguments.codec, arguments.out, arguments.seconds
    print(export.export_programs(*given))
