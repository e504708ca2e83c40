"""Streams: what a block takes on one core, and whether its codes are the whole's.

    pip install -e ".[test]"
    taskset -c 0 python benchmarks/streams.py --minutes=60 --out=streams.json

    pip install torch==2.13.0 einops sentencepiece  # for `mimi`
    pip install --no-deps moshi==0.2.13

Systems are presets with EnCodec's quantiser and random weights, or the folders of runs;
`mimi` is Moshi's codec in PyTorch with random weights, by steps of its own streams.

Blocks are as many frames as fit into `--block` seconds, one at least. The factor is the
work for a second of audio; the latency is the longest time from a sample to where it is
heard, without the time of the work. `encode` codes the same audio whole: clips of many
minutes in long blocks, and the first minutes, which are compared again, in windows.
Where a preset's codes differ, `margins` in the JSON file says how near the two
codewords were.
"""

import argparse
import itertools
import json
import statistics
import time

import jax
import near_codes
import numpy as np
from side import speech_like

import jaxcodec
from jaxcodec.api import CodecModel
from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.shapes import silence
from jaxcodec.inference import stream_pieces
from jaxcodec.presets import PRESETS
from jaxcodec.quantizers.codebook import nearest

WINDOWED = 5  # minutes that `encode` codes in windows
_FIRST = 10  # blocks that are not counted
HEAD = "system block_ms encode decode slowest_ms latency_ms same_codes same_windowed"


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--systems", default="encodec_24khz,encodec,mimi")
  parser.add_argument("--minutes", type=int, default=5)
  parser.add_argument("--block", type=float, default=0.02, help="seconds (default .02)")
  parser.add_argument("--codebooks", type=int, default=8)
  parser.add_argument("--out", help="JSON file for the figures")
  options = parser.parse_args()
  rows = []
  for name in options.systems.split(","):
    rows.append(mimi(options) if name == "mimi" else ours(name, options))
    print(json.dumps(rows[-1]), flush=True)
  print("| " + " | ".join(HEAD.split()) + " |\n|" + "---|" * len(HEAD.split()))
  for row in rows:
    print("| " + " | ".join(str(row.get(name, "")) for name in HEAD.split()) + " |")
  if options.out:
    with open(options.out, "w") as file:
      json.dump(rows, file, indent=2)


def ours(name, options):
  """Returns the figures of a preset, or of the codec of a run."""
  made = _random(name, options.codebooks) if name in PRESETS else None
  codec = CodecModel(*made) if made else jaxcodec.load(weights=name)
  stream = codec.stream(1, options.codebooks)
  frames = max(1, round(options.block * codec.sample_rate) // stream.hop)
  stream_pieces.prepare_encode(stream, frames)
  stream_pieces.prepare_decode(stream, frames)
  parts = _minutes(options.minutes, codec.sample_rate)
  pieces, encoding = _timed(stream_pieces.encode_pieces(stream, parts, frames))
  codes_TxK = np.concatenate(pieces)
  given = np.split(codes_TxK, range(frames, len(codes_TxK), frames))
  _, decoding = _timed(stream_pieces.decode_pieces(stream, given, frames))
  audio_N = np.concatenate(parts)[:, 0]
  short = min(options.minutes, WINDOWED) * 60 * codec.sample_rate
  whole, windowed = (
    codec.encode(clip, codec.sample_rate, num_codebooks=options.codebooks)
    for clip in (audio_N, audio_N[:short])
  )
  both = _common(codes_TxK, whole)
  late = frames * stream.hop + stream.lookahead
  return {
    **_row(name, frames * stream.hop / codec.sample_rate, encoding, decoding),
    "latency_ms": round(1e3 * late / codec.sample_rate, 1),
    "same_codes": float(np.mean(np.equal(*both))),
    "same_windowed": float(np.mean(np.equal(*_common(codes_TxK, windowed)))),
    "margins": near_codes.margins(*made, audio_N, *both) if made else None,
    "codes": codes_TxK.size,
    "used": [len(np.unique(codes_T)) for codes_T in codes_TxK.T],
  }


def mimi(options):
  """Returns the figures of Mimi, whose frames last 80 ms."""
  import torch
  from moshi.models import loaders

  torch.manual_seed(0)
  torch.set_num_threads(1)
  codec = loaders.get_mimi(None, device="cpu", num_codebooks=options.codebooks)
  hop, rate = codec.frame_size, int(codec.sample_rate)
  blocks = itertools.chain.from_iterable(
    np.split(minute, range(hop, len(minute), hop))
    for minute in _minutes(options.minutes, rate)
  )
  with torch.inference_mode(), codec.streaming(1):
    step = lambda block: codec.encode(torch.from_numpy(block.T[None]))  # noqa: E731
    codes, encoding = _timed(map(step, blocks))
    _, decoding = _timed(map(codec.decode, codes))
  row = _row("mimi", hop / rate, encoding, decoding)
  return {**row, "latency_ms": round(1e3 * hop / rate, 1)}


def _random(preset, codebooks):
  """Makes a preset of EnCodec's quantiser with random weights; returns both.

  Each codebook is drawn from what those before it leave of noise, so that all of it is
  used and codes are as close to each other as a trained codec's.
  """
  rng, codec = np.random.default_rng(0), make_preset(preset)
  variables = jax.jit(lambda key: codec.init(key, silence(codec)))(jax.random.key(0))
  (minute,) = _minutes(1, codec.sample_rate)
  z_TxD = codec.bind(variables).encoder(minute[None])[0]
  for level in range(codebooks):
    book = variables["vq_stats"]["quantizer"][f"layers_{level}"]
    drawn_V = rng.choice(len(z_TxD), len(book["embed"]), replace=False)
    book["embed"] = embed_VxD = z_TxD[drawn_V]
    z_TxD = z_TxD - embed_VxD[nearest(z_TxD, embed_VxD)]
  return codec, variables


def _minutes(count, rate):
  """Returns minutes of noise that swells and fades, (N, 1) each."""
  return np.split(speech_like(1, count * 60 * rate, 1)[0], count)


def _timed(results):
  """Returns what an iterator gives, and the seconds for each."""
  given, seconds, begin = [], [], time.perf_counter()
  for result in results:
    given.append(result)
    now = time.perf_counter()
    seconds.append(now - begin)
    begin = now
  return given, seconds


def _row(name, block, *times):
  """Returns a block's figures; the first of them compile, and the last is shorter."""
  steady = [seconds[_FIRST:-1] for seconds in times]
  encode, decode = (statistics.mean(seconds) / block for seconds in steady)
  slowest = max(map(max, steady))
  return {
    "system": name,
    "block_ms": round(1e3 * block, 1),
    "encode": round(encode, 3),
    "decode": round(decode, 3),
    "slowest_ms": round(1e3 * slowest, 1),
  }


def _common(codes_TxK, tokens):
  """Returns the stream's codes and the whole's, of the frames that both know.

  The last frames of a clip that is cut off see its end, so they are left out.
  """
  whole_TxK = np.asarray(tokens.codes_BxTxK[0])
  end = len(whole_TxK) if len(whole_TxK) == len(codes_TxK) else len(whole_TxK) - 8
  return codes_TxK[:end], whole_TxK[:end]


if __name__ == "__main__":
  main()
