"""Writes the folder of an exported codec."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from jaxcodec import files, weights
from jaxcodec.codecs.codec import Codec
from jaxcodec.deploy import card, loader
from jaxcodec.deploy.programs import ANY, FORMS, programs
from jaxcodec.inference.buckets import bucket
from jaxcodec.progress import Progress

ABOUT, WEIGHTS, LOADER, CARD = "codec.json", "weights.npz", "loader.py", "README.md"


def write(
  codec: Codec, variables: Mapping[str, Any], out: files.PathLike, seconds: float
) -> dict[str, Any]:
  """Writes a codec as programs, with its weights, a loader and a card.

  Args:
    codec: to export.
    variables: of it, as training has them.
    out: folder, made if it is not there.
    seconds: length of the longest clip that must fit.

  Returns:
    The content of `codec.json`: the codec's sizes, the lengths that encode and decode
    have programs for, frames, and how many rows these take.

  Raises:
    ValueError: seconds are not positive.
  """
  if not 0 < seconds < math.inf:
    wanted = "finite" if seconds > 0 else "positive"
    raise ValueError(f"seconds must be {wanted}, got {seconds}")
  out = pathlib.Path(out)
  flat = traverse_util.flatten_dict(jax.device_get(variables), sep="/")
  sizes = _sizes(codec, seconds)
  rows: dict[str, str | int] = dict.fromkeys(sizes, ANY)
  count = len(FORMS) * (1 + sum(map(len, sizes.values())))
  with Progress(count, "export", unit="programs") as progress:
    for program in programs(codec, flat, sizes):
      files.write_bytes(out / program.form / f"{program.name}.bin", program.content)
      if program.rows != ANY and program.function in rows:
        rows[program.function] = program.rows
      progress.update()
  with files.replacing(out / WEIGHTS) as path:
    np.savez(path, **flat)
  about = _about(codec, variables, sizes, rows)
  files.write_json(out / ABOUT, about)
  files.write_bytes(out / LOADER, pathlib.Path(loader.__file__).read_bytes())
  files.write_text(out / CARD, card.text(out.name, about))
  return about


def _sizes(codec: Codec, seconds: float) -> dict[str, list[int]]:
  """Returns the padded lengths that encode and decode need, frames."""
  hop = codec.spec.hop
  samples = max(1, round(seconds * codec.sample_rate))
  encode = _up_to(bucket(codec.spec.num_frames(samples)))
  return {
    "encode": encode,
    "decode": _up_to(bucket(codec.num_frames(encode[-1] * hop))),
  }


def _up_to(longest: int) -> list[int]:
  sizes = [bucket(1)]
  while sizes[-1] < longest:
    sizes.append(2 * sizes[-1])
  return sizes


def _about(
  codec: Codec,
  variables: Mapping[str, Any],
  sizes: Mapping[str, list[int]],
  rows: Mapping[str, str | int],
) -> dict[str, Any]:
  spec = codec.spec
  gains = {str(n): codec.num_segments(n) for n in sizes["decode"] if codec.normalize}
  return {
    "sample_rate": spec.sample_rate,
    "hop": spec.hop,
    "num_channels": codec.num_channels,
    "num_codebooks": spec.num_codebooks,
    "codebook_size": spec.codebook_size,
    "fingerprint": weights.token_fingerprint(variables),
    **sizes,
    "gains": gains,
    "rows": dict(rows),
    "jax": jax.__version__,
  }
