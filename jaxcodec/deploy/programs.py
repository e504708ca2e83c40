"""A codec's functions as programs of `jax.export`, for clips of a few lengths.

The length of a clip steers how a codec computes: windows of convolutions, passes of the
search for codes. So each padded length that `CodecRunner` has is a program of its own,
the one that it compiles, and gives the same codes. CPUs run other forms of operations
than accelerators do (`nn.ops`), so there are two sets of programs.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from jax import export

from jaxcodec.codecs.codec import Codec
from jaxcodec.codecs.shapes import silence
from jaxcodec.nn import folding, platform
from jaxcodec.types import Tokens

# Sets of programs: what `nn.platform` calls their platform, and what jax.export does.
FORMS = {"cpu": ("cpu", ("cpu",)), "accelerator": ("gpu", ("cuda", "tpu"))}
ANY = "any"
_ROWS = "b"  # the symbol for any number of rows


class Program(NamedTuple):
  """A program, serialised.

  Attributes:
    form: a name in `FORMS`.
    function: prepare, encode or decode.
    frames: that it takes; None of `prepare`.
    rows: that it takes: `ANY`, or 1.
    content: for `jax.export.deserialize`.
  """

  form: str
  function: str
  frames: int | None
  rows: str | int
  content: bytes

  @property
  def name(self) -> str:
    return self.function if self.frames is None else f"{self.function}_{self.frames}"


def programs(
  codec: Codec, flat: Mapping[str, np.ndarray], sizes: Mapping[str, Sequence[int]]
) -> Iterator[Program]:
  """Exports a codec's functions.

  `prepare` maps the list of weights, in the order of `flat`, to what the others take
  first: their form for inference. `encode` maps (audio_BxNxC, length_B) to codes_BxTxK,
  mask_BxT and gain_BxS or None. `decode` maps (codes_BxTxK, mask_BxT), and gain_BxS
  where the codec has gains, to audio_BxNxC.

  Args:
    codec: to export.
    flat: its variables by path.
    sizes: padded lengths of `encode` and `decode`, frames.
  """
  weights = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in flat.values()]
  for form, (name, platforms) in FORMS.items():
    with platform.assume(name):
      prepare = _prepare(codec, list(flat))
      yield Program(form, "prepare", None, 1, _export(prepare, platforms, weights))
      prepared = jax.eval_shape(prepare, weights)
      for function, (make, shapes) in _FUNCTIONS.items():
        for frames in sizes[function]:
          inputs = functools.partial(shapes, codec, frames)
          rows, content = _with_most_rows(make(codec), platforms, prepared, inputs)
          yield Program(form, function, frames, rows, content)


def _with_most_rows(
  function: Callable[..., Any],
  platforms: Sequence[str],
  prepared: Any,
  inputs: Callable[[Any], Sequence[Any]],
) -> tuple[str | int, bytes]:
  """Exports a program for any number of rows, or for one where that can't be."""
  (symbol,) = export.symbolic_shape(_ROWS)
  try:
    return ANY, _export(function, platforms, prepared, *inputs(symbol))
  except Exception:  # of any kind; one that has another reason comes again
    return 1, _export(function, platforms, prepared, *inputs(1))


def _export(
  function: Callable[..., Any], platforms: Sequence[str], *args: Any
) -> bytes:
  return bytes(export.export(jax.jit(function), platforms=platforms)(*args).serialize())


def _prepare(codec: Codec, names: Sequence[str]) -> Callable[..., Any]:
  uses = folding.declared_uses(codec, silence(codec))

  def prepare(weights):
    flat = dict(zip(names, weights, strict=True))
    variables = traverse_util.unflatten_dict(flat, sep="/")
    return {**variables, "params": folding.fold_kernels(variables["params"], uses)}

  return prepare


def _encode(codec: Codec) -> Callable[..., Any]:
  def encode(variables, audio_BxNxC, length_B):
    tokens = codec.apply(variables, audio_BxNxC, length_B, method="encode")
    return tokens.codes_BxTxK, tokens.mask_BxT, tokens.gain_BxS

  return encode


def _decode(codec: Codec) -> Callable[..., Any]:
  def decode(variables, codes_BxTxK, mask_BxT, gain_BxS=None):
    tokens = Tokens(codes_BxTxK, mask_BxT, gain_BxS)
    return codec.apply(variables, tokens, method="decode")

  return decode


def _audio(codec: Codec, frames: int, rows: Any) -> list[jax.ShapeDtypeStruct]:
  shape = (rows, frames * codec.spec.hop, codec.num_channels)
  return [_shape(shape, np.float32), _shape((rows,), np.int32)]


def _tokens(codec: Codec, frames: int, rows: Any) -> list[jax.ShapeDtypeStruct]:
  codes = _shape((rows, frames, codec.spec.num_codebooks), np.int32)
  gains = [_shape((rows, codec.num_segments(frames)), np.float32)]
  return [codes, _shape((rows, frames), np.bool_), *(gains if codec.normalize else [])]


def _shape(shape: tuple[Any, ...], dtype: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(shape, dtype)


# By name: what makes one for a codec, and the shapes of what it takes.
_FUNCTIONS = {"encode": (_encode, _audio), "decode": (_decode, _tokens)}
