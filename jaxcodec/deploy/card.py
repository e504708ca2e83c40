"""The README of an exported codec."""

from collections.abc import Mapping
from typing import Any

_TEXT = """# {name}

A neural audio codec as programs of `jax.export` (StableHLO). It runs with jax and numpy
alone, on CPUs, NVIDIA GPUs and TPUs.

    pip install "jax>={jax}" numpy

    import loader                            # the file in this folder
    codec = loader.ExportedCodec(".")
    tokens = codec.encode(audio_NxC)         # codes (T, K), mask (T,), gains or None
    audio_NxC = codec.decode(*tokens)[: len(audio_NxC)]

Audio is float32 in [-1, 1] at {sample_rate:,} Hz, with {num_channels} channel(s);
frames of {hop} samples have {num_codebooks} codes below {codebook_size}. Clips of up to
{seconds:.2f} s fit. The codes are those of `jaxcodec`, on the same kind of device, with
the weights whose fingerprint is
`{fingerprint}`.

| file | holds |
|---|---|
| `loader.py` | the class above, to copy or to import |
| `codec.json` | sizes, and the lengths (frames) that programs are for |
| `weights.npz` | the weights, float32 |
| `cpu/`, `accelerator/` | programs for CPUs; for CUDA and TPUs |

`prepare.bin` takes the list of arrays of `weights.npz`, in its order, and gives what
the others take first. `encode_T.bin` takes (prepared, audio (B, T * hop, C), valid
samples (B,) int32) and gives codes (B, T', K) int32, which frames are valid (B, T') and
the gains of segments (B, S), or None. `decode_T.bin` takes (prepared, codes (B, T, K),
valid frames (B, T) bool), and gains where `codec.json` lists their number, and gives
audio. B is {encode_rows} to encode and {decode_rows} to decode.
"""


def text(name: str, about: Mapping[str, Any]) -> str:
  """Returns the README of a folder of this name; `about` is its codec.json."""
  rows = {what: "any number" if n == "any" else n for what, n in about["rows"].items()}
  return _TEXT.format(
    name=name,
    seconds=about["encode"][-1] * about["hop"] / about["sample_rate"],
    encode_rows=rows["encode"],
    decode_rows=rows["decode"],
    **about,
  )
