"""The commands `jaxcodec encode` and `jaxcodec decode`."""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxcodec import files, token_file
from jaxcodec.cli import left_out, unfinished
from jaxcodec.coding.header import ADAPTIVE

if TYPE_CHECKING:
  from jaxcodec.api import CodecModel
  from jaxcodec.cli.file_tree import FilePair
  from jaxcodec.coding.scored import Scores

SKIPPED = "skipped.json"
# Options that may be given without a value, which must not take what follows for one.
BARE = {"--entropy": f"--entropy={ADAPTIVE}"}


def add_commands(commands: Any) -> None:
  """Adds both to the subparsers of `jaxcodec`."""
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
  encode.add_argument(
    "--entropy",
    metavar="MODEL",
    help="smaller token files, coded under a model that learns as it goes; with =MODEL,"
    " a work directory or what comes with the package, under that language model, too",
  )
  encode.set_defaults(run=_encode)
  decode = commands.add_parser("decode", help="token files to wav files")
  _add_files(decode, f"{token_file.SUFFIX} files, folders of them; -: standard input")
  decode.add_argument(
    "--any-weights",
    action="store_true",
    help="also decode tokens that were made with other weights",
  )
  decode.add_argument(
    "--language-model",
    metavar="MODEL",
    help="that of encode --entropy=MODEL, if it doesn't come with the package",
  )
  decode.set_defaults(run=_decode)


def _add_files(parser: argparse.ArgumentParser, what: str) -> None:
  parser.add_argument("inputs", nargs="+", metavar="FILE_OR_DIR", help=what)
  parser.add_argument(
    "--preset",
    metavar="NAME",
    help="a preset, or user/repo of the Hugging Face Hub; not needed if the weights say"
    " which codec",
  )
  parser.add_argument(
    "--weights",
    metavar="W",
    help="file, work directory, or name of a codec with weights; the preset's own if"
    " left out; random draws new ones",
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
  parser.add_argument(
    "--stream",
    action="store_true",
    help="code one input as it comes, in constant memory; tokens are written in blocks",
  )
  parser.add_argument(
    "--raw",
    action="store_true",
    help="with --stream: audio is 16-bit samples of the codec's rate, without a header",
  )
  parser.add_argument(
    "--block",
    type=float,
    metavar="SECONDS",
    help="with --stream: code so much at a time, at least a frame; 1 s, or ten times"
    " what the codec looks ahead; with --realtime a frame, or a quarter of it",
  )
  parser.add_argument(
    "--realtime",
    action="store_true",
    help="with --stream: for what comes and is heard live; compiles before, codes short"
    " blocks, and says how it kept up",
  )


def _encode(arguments: argparse.Namespace) -> None:
  if _streamed(arguments):
    return
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
    entropy = _entropy(arguments.entropy, codec)
    # Notes of earlier versions lack it, or have True.
    settings["entropy"] = getattr(entropy, "fingerprint", entropy or None)
    settings["inputs"] = unfinished.described(arguments.inputs)
    missing = unfinished.missing(given[1], settings, pairs) if resumed else pairs
    skipped = codec_files.encode_files(
      codec,
      missing,
      **wanted,
      entropy=entropy,
      on_error=arguments.on_error,
      note=unfinished.noted(given[1], settings, resumed),
    )
  _report(arguments, pairs, missing, skipped, left_out.describe(given[0], SUFFIXES))


def _decode(arguments: argparse.Namespace) -> None:
  if _streamed(arguments):
    return
  from jaxcodec.cli import codec_files, file_tree, standard_streams

  suffixes = (token_file.SUFFIX,)
  with standard_streams.as_files(arguments.inputs, arguments.out, suffixes[0]) as given:
    pairs = file_tree.plan(*given, suffixes, ".wav")
    resumed = unfinished.is_there(given[1]) and not arguments.overwrite
    codec = _codec(arguments)
    settings = {
      "command": "decode",
      "weights": codec.whole_fingerprint,
      "inputs": unfinished.described(arguments.inputs),
    }
    missing = unfinished.missing(given[1], settings, pairs) if resumed else pairs
    skipped = codec_files.decode_files(
      codec,
      missing,
      any_weights=arguments.any_weights,
      language_model=arguments.language_model,
      overwrite=arguments.overwrite,
      done_since=unfinished.began(given[1]) if resumed else None,
      on_error=arguments.on_error,
      note=unfinished.noted(given[1], settings, resumed),
    )
  _report(arguments, pairs, missing, skipped, left_out.describe(given[0], suffixes))


def _streamed(arguments: argparse.Namespace) -> bool:
  """Does the command if it is `--stream`; returns whether it is."""
  if not arguments.stream:
    for option in ("raw", "realtime", "block"):
      if getattr(arguments, option) not in (None, False):
        raise ValueError(f"--{option} is for --stream alone")
    return False
  from jaxcodec.cli import streams

  streams.check(arguments)
  run = streams.encode if arguments.run is _encode else streams.decode
  run(arguments, _codec(arguments))
  return True


def _codec(arguments: argparse.Namespace) -> "CodecModel":
  from jaxcodec.api import CodecModel, load

  model = load(arguments.preset, arguments.weights)
  if not isinstance(model, CodecModel):
    name = arguments.preset or arguments.weights
    raise ValueError(f"{name} is a vocoder: it makes no tokens")
  return model


def _entropy(wanted: str | None, codec: "CodecModel") -> "bool | Scores":
  """Returns how codes are coded, as `Tokens.save` takes it."""
  if wanted in (None, ADAPTIVE):
    return wanted == ADAPTIVE
  from jaxcodec.api import load_code_scores
  from jaxcodec.coding import by_language_model

  scores = load_code_scores(wanted)
  by_language_model.check_codec(codec.fingerprint, scores)
  return scores


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
