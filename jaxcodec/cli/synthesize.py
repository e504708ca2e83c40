"""`jaxcodec synthesize`: speaks with a trained language model."""

import argparse
import functools
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jaxcodec.cli.standard_streams import NAME as STANDARD_OUTPUT

NOTHING_SPOKEN = 1
_SAMPLING = (
  "temperature",
  "nar_temperature",
  "top_k",
  "top_p",
  "guidance",
  "guidance_condition",
  "guidance_prompt",
  "max_seconds",
)


def add_command(commands: Any) -> None:
  """Adds `synthesize` to the command line's commands."""
  parser = commands.add_parser(
    "synthesize",
    help="speak a text, or what a recording says, in a voice",
    description="Speak with the language model of an experiment: texts with AR + NAR"
    " models (valle) and those of the delay pattern (delay), what a recording says with"
    " masked-parallel ones (maskgit).",
  )
  parser.add_argument(
    "--weights",
    required=True,
    metavar="RUN",
    help="work directory, name of a model that comes along, or user/repo of the hub",
  )
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument("--text", metavar="TEXT", help="what to speak")
  what.add_argument("--like", metavar="FILE", help="recording to say again")
  what.add_argument(
    "--tsv",
    metavar="FILE",
    help="a row for each wav file: the columns out and text or like, and any of prompt,"
    " prompt_text, seed; files count from its folder",
  )
  parser.add_argument("--prompt", metavar="FILE", help="recording of the voice")
  parser.add_argument(
    "--prompt-text", metavar="TEXT", help="what is said in the prompt, with --text"
  )
  parser.add_argument(
    "--out",
    required=True,
    metavar="PATH",
    help="wav file; with --tsv the folder that gets them, with --stream -",
  )
  parser.add_argument(
    "--stream",
    action="store_true",
    help="write what --text says to standard output while it is still being spoken",
  )
  parser.add_argument(
    "--raw", action="store_true", help="with --stream: 16-bit samples without a header"
  )
  parser.add_argument(
    "--seed", type=int, default=0, metavar="N", help="same seed, same speech"
  )
  _add_sampling(parser)
  parser.add_argument(
    "--semantic-weights",
    metavar="DIR",
    help="HuBERT's weights, for models on its tokens, if they moved",
  )
  parser.add_argument(
    "--overwrite", action="store_true", help="replace outputs that are there already"
  )
  parser.add_argument(
    "--on-error",
    choices=("raise", "skip"),
    default="raise",
    help="at a bad row, stop before any work, or list it in the index and go on",
  )
  parser.set_defaults(run=_synthesize)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
  group = parser.add_argument_group("sampling, as the run's config has it if left out")
  group.add_argument(
    "--temperature", type=float, metavar="T", help="0 takes the likeliest"
  )
  group.add_argument(
    "--nar-temperature",
    type=float,
    metavar="T",
    help="of all codebooks but the first (texts); 0 where --temperature is 0",
  )
  group.add_argument(
    "--top-k", type=int, metavar="K", help="of the K likeliest tokens; 0 for all"
  )
  group.add_argument(
    "--top-p", type=float, metavar="P", help="of the likeliest, up to P together"
  )
  group.add_argument(
    "--guidance",
    type=float,
    metavar="G",
    help="how much what the text adds to the scores counts (delay pattern), 1 or more",
  )
  for name, what in (("condition", "what --like says"), ("prompt", "the prompt")):
    group.add_argument(
      f"--guidance-{name}",
      type=float,
      metavar="G",
      help=f"how far to push away from speech without {what} (maskgit), 0 or more",
    )
  group.add_argument(
    "--max-seconds",
    type=float,
    metavar="S",
    help="cut there: each piece of a text that is spoken in pieces",
  )


def _synthesize(arguments: argparse.Namespace) -> int:
  if arguments.stream:
    return _stream(arguments)
  if arguments.raw:
    raise ValueError("--raw is for --stream alone")
  from jaxcodec.api import load_slm
  from jaxcodec.cli import file_tree
  from jaxcodec.cli.speech_files import speak_files
  from jaxcodec.cli.speech_index import speak_table

  jobs = _jobs(arguments)
  options = {name: getattr(arguments, name) for name in _SAMPLING}
  load = functools.partial(
    load_slm, arguments.weights, semantic_weights=arguments.semantic_weights
  )
  if arguments.tsv:
    return _report(arguments, speak_table(load, jobs, arguments, options))
  if not arguments.overwrite:
    file_tree.refuse_existing([job.target for job in jobs])
  rows = speak_files(load(), jobs, on_error=arguments.on_error, **options)
  return _report(arguments, rows)


def _stream(arguments: argparse.Namespace) -> int:
  if arguments.text is None or arguments.out != STANDARD_OUTPUT:
    raise ValueError("--stream speaks --text to standard output: --out -")
  from jaxcodec.api import TextToSpeech, load_slm
  from jaxcodec.cli.stream_files import piped_audio

  model = load_slm(arguments.weights, semantic_weights=arguments.semantic_weights)
  if not isinstance(model, TextToSpeech):
    raise ValueError(f"{arguments.weights}: speaks no texts, but what --like says")
  stream = model.speak(
    arguments.text,
    arguments.prompt,
    prompt_text=arguments.prompt_text,
    seed=arguments.seed,
    stream=True,
    **{name: getattr(arguments, name) for name in _SAMPLING},
  )
  write = piped_audio(stream.sample_rate, 1, arguments.raw)
  for block_N in stream:
    write(block_N[:, None])
  speech = stream.speech
  if speech.problem:
    print(speech.problem, file=sys.stderr)
  return 0 if speech.seconds else NOTHING_SPOKEN


def _jobs(arguments: argparse.Namespace) -> list[Any]:
  from jaxcodec.api.speech_model import Request
  from jaxcodec.cli.speech_table import SpeechJob, read_table

  if arguments.tsv is not None:
    if arguments.prompt is not None or arguments.prompt_text is not None:
      raise ValueError("with --tsv, prompt and prompt_text are columns of the table")
    if pathlib.Path(arguments.out).is_file():
      raise ValueError(f"--out must be a folder with --tsv, got {arguments.out!r}")
    return read_table(arguments.tsv, arguments.out, arguments.seed)
  target = pathlib.Path(arguments.out)
  if target.suffix != ".wav" or target.is_dir():
    raise ValueError(f"--out must be a .wav file, got {arguments.out!r}")
  request = Request(
    text=arguments.text,
    like=arguments.like,
    prompt=arguments.prompt,
    prompt_text=arguments.prompt_text,
    seed=arguments.seed,
  )
  return [SpeechJob(request, target, "")]


def _report(arguments: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> int:
  """Prints what was done; returns the exit code."""
  for row in rows:
    if row["problem"]:
      print(f"{row['out']}: {row['problem']}", file=sys.stderr)
  spoken = sum(row["seconds"] > 0 for row in rows)
  skipped = sum("skipped" in row for row in rows)
  print(f"{spoken} of {len(rows)} spoken, in {arguments.out}")
  return 0 if spoken and spoken + skipped == len(rows) else NOTHING_SPOKEN
