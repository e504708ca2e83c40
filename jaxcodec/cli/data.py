"""`jaxcodec data build`: prepares a folder of speech as TFDS shards."""

import argparse
import sys


def add(commands: argparse._SubParsersAction) -> None:
  """Adds `data` to the command line's commands."""
  data = commands.add_parser("data", help="prepare data sets")
  verbs = data.add_subparsers(required=True, metavar="VERB")
  build = verbs.add_parser(
    "build",
    help="a folder of speech to TFDS shards",
    description="A folder of speech, in any layout that docs/data.md lists, to"
    " OUT/NAME/1.0.0: array_record shards for data.source=tfds and for TFDS. Started"
    " again after any interruption, it goes on; failures.jsonl lists what is left out.",
  )
  build.add_argument("source", metavar="DIR", help="has sound files: wav, flac, mp3...")
  build.add_argument("--out", required=True, metavar="DIR", help="TFDS's data folder")
  build.add_argument("--name", help="of the set; the folder's if left out")
  build.add_argument("--processes", type=int, metavar="N", help="all cores if left out")
  build.add_argument(
    "--shard-mb",
    type=float,
    default=64,
    metavar="MB",
    help="of files in a shard",
  )
  build.add_argument(
    "--sample-rate", type=int, metavar="HZ", help="resample; as it is if left out"
  )
  build.add_argument(
    "--max-seconds",
    type=float,
    default=600,
    metavar="S",
    help="longer recordings are cut into pieces, without their texts (default 600)",
  )
  build.add_argument(
    "--on-error",
    choices=("raise", "skip"),
    default="raise",
    help="stop at the first bad recording, or list them and go on",
  )
  build.set_defaults(run=_build)


def _build(arguments: argparse.Namespace) -> None:
  from jaxcodec.data.prepare.build import build

  ours = "run", "command"  # what `main` sets
  settings = {name: x for name, x in vars(arguments).items() if name not in ours}
  done = build(settings.pop("source"), settings.pop("out"), **settings)
  splits = ", ".join(f"{count} in {split}" for split, count in done.splits.items())
  print(
    f"{sum(done.splits.values())} recordings ({splits}), {done.hours:.2f} hours, in"
    f" {done.folder}; {done.kept_shards} of {done.shards} shards were there"
  )
  if done.cut:
    print(f"{done.cut} longer than {arguments.max_seconds:g} s were cut into pieces")
  for failure in done.failures:
    print(f"skipped: {failure['reason']}", file=sys.stderr)
