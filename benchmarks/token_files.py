"""Measures bits a second of token files in each coding, and the time that coding takes.

    python benchmarks/token_files.py --data=DIR --weights=CODEC --entropy=MODEL

Recordings are every n-th of those below `DIR`, sorted. Each is a file of its own, and
then all are the clips of one. Headers and checksums count, but not for `model alone`,
which is the information of all codes under the language model. Times are of the
processor, all threads together, as shares of the recordings' duration, once programs
are compiled. Every file is read again and compared.
"""

import argparse
import gzip
import pathlib
import tempfile
import time

import numpy as np

from jaxcodec import api
from jaxcodec.coding.by_language_model import check_codec
from jaxcodec.data.audio.files import SUFFIXES, read_audio
from jaxcodec.types import Tokens


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", type=pathlib.Path, required=True)
  parser.add_argument("--weights", required=True)
  parser.add_argument("--entropy", metavar="MODEL", help="of this codec's tokens")
  parser.add_argument("--clips", type=int, default=12)
  arguments = parser.parse_args()
  codec, kinds = api.load(weights=arguments.weights), {"plain": False, "adaptive": True}
  if arguments.entropy:
    kinds["model, mixed"] = api.load_code_scores(arguments.entropy)
    check_codec(codec.fingerprint, kinds["model, mixed"])
  tokens = [codec.encode(*read_audio(path)) for path in _recordings(arguments)]
  seconds = sum(float(t.origin.num_samples_B[0] / t.origin.sample_rate) for t in tokens)
  print(f"{len(tokens)} recordings, {seconds:.1f} s")
  if arguments.entropy:
    bits = sum(_information(kinds["model, mixed"], t.codes_BxTxK[0]) for t in tokens)
    print(f"model alone: {bits / seconds:.0f} bit/s")
  with tempfile.TemporaryDirectory() as folder:
    for name, entropy in kinds.items():
      path = pathlib.Path(folder) / "a.jxc"
      _code(path, tokens[:1], entropy)  # compiles
      for many, each in (("each", [[t] for t in tokens]), ("in one", [tokens])):
        coded = [_code(path, clips, entropy) for clips in each]
        sizes, gzipped, *spent = np.sum(coded, axis=0)
        rates = f"{8 * sizes / seconds:.0f} bit/s, gzip -9 {8 * gzipped / seconds:.0f}"
        share = "writes {:.4f}, reads {:.4f}".format(*(np.array(spent) / seconds))
        print(f"{name}, {many}: {rates}, {share}", flush=True)


def _recordings(arguments):
  paths = sorted(p for p in arguments.data.rglob("*") if p.suffix in SUFFIXES)
  return [paths[i * len(paths) // arguments.clips] for i in range(arguments.clips)]


def _code(path, clips, entropy):
  """Writes clips and reads them; returns the size, gzipped too, and both times."""
  longest = max(one.codes_BxTxK.shape[1] for one in clips)
  missing = [longest - one.codes_BxTxK.shape[1] for one in clips]
  pads = [((0, 0), (0, more), (0, 0)) for more in missing]
  codes = [np.pad(one.codes_BxTxK, pad) for one, pad in zip(clips, pads, strict=True)]
  masks = [np.pad(one.mask_BxT, pad[:2]) for one, pad in zip(clips, pads, strict=True)]
  samples = np.concatenate([one.origin.num_samples_B for one in clips])
  origin = clips[0].origin.replace(num_samples_B=samples)
  tokens = Tokens(np.concatenate(codes), np.concatenate(masks), origin=origin)
  scores = None if isinstance(entropy, bool) else entropy
  start = time.process_time()
  tokens.save(path, entropy=entropy)
  written = time.process_time()
  found = Tokens.load(path, language_model=scores)
  read = time.process_time()
  np.testing.assert_array_equal(found.codes_BxTxK, tokens.codes_BxTxK)
  content = path.read_bytes()
  sizes = len(content), len(gzip.compress(content, 9))
  return *sizes, written - start, read - written


def _information(scores, codes_TxK):
  """Returns the bits of codes under the language model alone."""
  bits, past = 0.0, scores.past
  for start in range(0, len(codes_TxK), scores.frames):
    part = codes_TxK[start : start + scores.frames]
    steps = scores.reveal(codes_TxK[max(0, start - past) : start], len(part))
    codes = None
    try:
      while True:
        cells, scores_NxV = steps.send(codes)
        codes = [int(part[cell]) for cell in cells]
        scores_NxV = scores_NxV.astype(np.float64)
        total_N = np.log(np.exp(scores_NxV - scores_NxV.max(1, keepdims=True)).sum(1))
        own_N = scores_NxV[np.arange(len(codes)), codes] - scores_NxV.max(1)
        bits += (total_N - own_N).sum() / np.log(2)
    except StopIteration:
      continue
  return bits


if __name__ == "__main__":
  main()
