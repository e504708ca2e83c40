"""`jaxcodec push`: a run's weights and model card, to the Hugging Face Hub."""

import argparse
from typing import Any


def add_command(commands: Any) -> None:
  """Adds `push` to the command line's commands."""
  parser = commands.add_parser(
    "push",
    help="a trained run's weights with a model card, to the Hugging Face Hub",
    description="Uploads a run as `export` writes it. What `export` wrote goes as it"
    " is, with its model card. Log in with `hf auth login` first.",
  )
  parser.add_argument(
    "run_folder", metavar="RUN", help="work directory, or a folder that export wrote"
  )
  parser.add_argument("repository", metavar="user/repo", help="made if it isn't there")
  parser.add_argument("--part", choices=("codec", "slm"), default="codec")
  parser.add_argument(
    "--license",
    metavar="ID",
    help="of the weights, as the hub calls it, e.g. apache-2.0; unknown if left out",
  )
  parser.add_argument("--private", action="store_true", help="if it is made")
  parser.add_argument(
    "--dry-run",
    "--dry_run",
    action="store_true",
    help="show what would be uploaded, and upload nothing",
  )
  parser.set_defaults(run=_push)


def _push(arguments: argparse.Namespace) -> None:
  from jaxcodec.cli.push_run import push

  print(
    push(
      arguments.run_folder,
      arguments.repository,
      part=arguments.part,
      licence=arguments.license,
      private=arguments.private,
      dry_run=arguments.dry_run,
    )
  )
