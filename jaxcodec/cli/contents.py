"""`jaxcodec contents`: what tokens carry, bits about phones and speakers."""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jaxcodec import files

if TYPE_CHECKING:
  from jaxcodec.evals.contents import Clip

_TOKENS = "tokens"  # folder of a work directory
_CHUNK = 64  # recordings in memory at once


def add(commands: argparse._SubParsersAction) -> None:
  """Adds `contents` to the command line's commands."""
  contents = commands.add_parser(
    "contents",
    help="what tokens carry: bits about phones and speakers",
    description="Measures how many bits the codes of each codebook tell of a frame's"
    " phone and speaker, alone and given the codebooks before, with 95% intervals."
    " Every utterance is held out once from what is learned of the others. Phones are"
    " those of Praat TextGrids, found by the recordings' names.",
  )
  contents.add_argument(
    "codecs",
    nargs="+",
    metavar="CODEC",
    help="work directory, params.safetensors, or name of a codec that comes along",
  )
  contents.add_argument(
    "--data",
    metavar="DIR",
    help="recordings to encode, as data.source=folder reads them; without it, the"
    " tokens in the work directories",
  )
  contents.add_argument(
    "--alignments", metavar="DIR", help="has the TextGrids; DIR of --data if left out"
  )
  contents.add_argument("--tier", default="phones", help="of the TextGrids")
  contents.add_argument("--seed", type=int, default=0, help="of parts and classifiers")
  contents.add_argument("--out", metavar="FILE", help="JSON of all that is measured")
  contents.set_defaults(run=_contents)


def _contents(arguments: argparse.Namespace) -> None:
  from jaxcodec.data.alignments import find_alignments
  from jaxcodec.evals import contents

  folder = arguments.alignments or arguments.data
  if folder is None:
    raise ValueError("--alignments is missing: the folder of the TextGrids")
  grids, found = find_alignments(folder), {}
  for codec in arguments.codecs:
    encoded = _encoded(codec, arguments.data)
    clips, left_out = _labelled(*encoded, grids, arguments.tier)
    if not clips:
      raise ValueError(f"{folder}: has no TextGrid of any recording of {codec}")
    size = encoded[1]["codebook_size"]
    measured = contents.measure(clips, size, seed=arguments.seed)
    found[codec] = {**encoded[1], **measured, "without_alignment": left_out}
    print(f"{codec}\n{table(found[codec])}\n", flush=True)
  if arguments.out:
    content = {"measures": contents.MEASURES, "codecs": found}
    files.write_json(pathlib.Path(arguments.out), content)


def table(measured: dict[str, Any]) -> str:
  """Returns what was measured of a codec as lines of text."""
  counts = "{frames} frames of {utterances} utterances, {speakers} speakers"
  lines = [counts.format(**measured)]
  for name, target in measured["targets"].items():
    if target is None:
      lines.append(f"{name}: fewer than two speakers have several utterances")
      continue
    lines.append(f"bits about the {name}, of {_interval(target['entropy'])}:")
    lines.append("  codebook  alone                   given those before")
    rows = zip(target["alone"], target["given_before"], strict=True)
    for book, (alone, given) in enumerate(rows):
      lines.append(f"  {book:8}  {_interval(alone):22}  {_interval(given)}")
    lines.append(f"  together  {_interval(target['together'])}")
    lines.append(f"  shuffled  {_interval(target['shuffled'])}")
  return "\n".join(lines)


def _interval(estimate: dict[str, Any]) -> str:
  low, high = estimate["ci95"]
  mean = f"{estimate['mean']:.3f}"
  return mean if low is None else f"{mean} ({low:.3f} to {high:.3f})"


def _encoded(codec: str, data: str | None) -> tuple[list[dict[str, Any]], dict]:
  """Returns records with id, speaker and codes of utterances, and the token spec."""
  return _stored(pathlib.Path(codec)) if data is None else _coded(codec, data)


def _stored(workdir: pathlib.Path) -> tuple[list[dict[str, Any]], dict]:
  """Reads the records of a work directory's tokens stage."""
  import json

  from jaxcodec.data.split import PARTS
  from jaxcodec.data.token_store import TokenSource

  spec = workdir / _TOKENS / "spec.json"
  if not spec.is_file():
    raise ValueError(f"{workdir}: has no tokens; give --data, recordings to encode")
  parts = [workdir / _TOKENS / f"{part}.array_record" for part in PARTS]
  sources = [TokenSource(path) for path in parts if path.is_file()]
  records = [source[index] for source in sources for index in range(len(source))]
  return records, json.loads(spec.read_text(encoding="utf-8"))["token_spec"]


def _coded(codec: str, data: str) -> tuple[list[dict[str, Any]], dict]:
  """Encodes the recordings of a folder, each once."""
  import dataclasses

  from jaxcodec.api import CodecModel, load
  from jaxcodec.data.source import open_source
  from jaxcodec.progress import Progress

  model = load(weights=codec)
  if not isinstance(model, CodecModel) or model.num_channels > 1:
    raise ValueError(f"{codec} is no codec of one channel")
  rate, records = model.sample_rate, []
  source = open_source("folder", data, sample_rate=rate)
  with Progress(len(source.utterances), "encode", unit="clips") as progress:
    for first in range(0, len(source.utterances), _CHUNK):
      chunk = source.utterances[first : first + _CHUNK]
      clips = [source.audio(first + i, rate) for i in range(len(chunk))]
      codes = model.runner.encode(clips, progress.update)
      records += [
        {"id": utterance.id, "speaker": utterance.speaker, "codes_TxK": codes_TxK}
        for utterance, codes_TxK in zip(chunk, codes, strict=True)
      ]
  return records, dataclasses.asdict(model.spec)


def _labelled(
  records: Sequence[dict[str, Any]],
  spec: dict[str, Any],
  grids: dict[str, pathlib.Path],
  tier: str,
) -> tuple[list["Clip"], int]:
  """Returns the utterances that have a TextGrid, and how many have none."""
  from jaxcodec.data import alignments
  from jaxcodec.evals.contents import Clip

  rate, clips = spec["sample_rate"] / spec["hop"], []
  for record in records:
    grid = grids.get(alignments.name_of(record["id"]))
    if grid is None:
      continue
    codes_TxK = record["codes_TxK"]
    intervals = alignments.read_intervals(grid, tier)
    labels = alignments.frame_labels(intervals, len(codes_TxK), rate)
    phones = [alignments.plain_phone(label) for label in labels]
    clips.append(Clip(record["id"], record["speaker"], codes_TxK, phones))
  if missing := len(records) - len(clips):
    print(f"{missing} of {len(records)} recordings have no TextGrid", file=sys.stderr)
  return clips, missing
