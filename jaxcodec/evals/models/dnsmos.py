"""The DNSMOS network, run on overlapping windows without doing their work again."""

import pathlib
from typing import Any

import numpy as np

from jaxcodec.evals.models import choose

RATE = 16_000
WINDOW = 144_160  # samples, 9.01 s: 900 frames of 320 samples, each 160 after the last
_FRAME, _HOP = 320, 160
_SECOND = RATE // _HOP  # frames from one window to the next
_SECONDS = 9  # that a window's frames begin in
# Four convolutions of three frames come before the first pooling, which halves them. So
# many frames at each end of what they get depend on what lies beyond it.
_REACH = 4
_AT_ONCE = 900  # frames, which bounds the memory as one window did
_SPAN = 60  # windows whose features are held at a time


class Dnsmos:
  """DNSMOS P.835's network.

  It is convolutional and scores windows of 9.01 s, one a second, so that what its first
  layers find of a second belongs to nine windows. These layers are nearly all of the
  work. They run once for each second, and again where a window begins and ends, since
  they see nothing beyond it.

  Source: Reddy et al. 2022, "DNSMOS P.835"; speechmos/dnsmos.py.
  """

  def __init__(self, path: pathlib.Path, *, onnx: Any, threads: int):
    """Cuts the network in two behind its first pooling.

    Args:
      path: of `sig_bak_ovr.onnx`.
      onnx: the package.
      threads: CPU threads.
    """
    model = onnx.load(str(path))
    kinds = [node.op_type for node in model.graph.node]
    framed, pooled = kinds.index("Concat"), kinds.index("MaxPool")

    def session(nodes, inputs, outputs):
      part = _part(onnx, model, nodes, inputs, outputs)
      return choose.onnx_session(part, threads=threads)

    frames, features = (model.graph.node[i].output[0] for i in (framed, pooled))
    layers, rest = slice(framed + 1, pooled + 1), slice(pooled + 1, None)
    last = model.graph.output[0].name
    self._layers = session(layers, {frames: ("N", "T", _FRAME)}, {features: 4})
    self._rest = session(rest, {features: ("N", 32, 450, 80)}, {last: 2})

  def __call__(self, audio: np.ndarray) -> np.ndarray:
    """Scores every window of (N,) float32 audio at 16 kHz.

    Audio that is shorter than a window is repeated until it fills one.

    Returns:
      the network's raw signal, background and overall scores, (windows, 3).
    """
    while len(audio) < WINDOW:
      audio = np.concatenate([audio, audio])
    count = _count_windows(len(audio))
    spans = []
    for first in range(0, count, _SPAN):
      windows = min(_SPAN, count - first)
      samples = audio[first * RATE :][: (windows - 1) * RATE + WINDOW]
      spans.append(self._score(samples, windows))
    return np.concatenate(spans)

  def _score(self, audio: np.ndarray, windows: int) -> np.ndarray:
    """Scores audio that is exactly so many windows long."""
    frames = np.lib.stride_tricks.sliding_window_view(
      np.pad(audio, _REACH * _HOP), _FRAME
    )[::_HOP]

    def pieces(count, begin, length):
      return np.stack([frames[begin + i * _SECOND :][:length] for i in range(count)])

    half = _REACH // 2
    seconds = self._features(pieces(windows + _SECONDS - 1, 0, _SECOND + 2 * _REACH))[
      :, :, half:-half
    ]
    starts = self._features(pieces(windows, _REACH, 2 * _REACH))[:, :, :half]
    end = _REACH + _SECONDS * _SECOND - 2 * _REACH
    ends = self._features(pieces(windows, end, 2 * _REACH))[:, :, half:]
    scores = []
    for i in range(windows):
      whole = np.concatenate(seconds[i : i + _SECONDS], axis=1)
      whole[:, :half], whole[:, -half:] = starts[i], ends[i]
      scores.append(_run(self._rest, whole[None]))
    return np.concatenate(scores)

  def _features(self, frames: np.ndarray) -> np.ndarray:
    """Runs the first layers on frames (pieces, T, 320) in groups of bounded memory."""
    step = max(1, _AT_ONCE // frames.shape[1])
    groups = (frames[i : i + step] for i in range(0, len(frames), step))
    return np.concatenate([_run(self._layers, group) for group in groups])


def _count_windows(samples: int) -> int:
  """Returns how many windows the package would score.

  Its count is whole seconds less 9.01, rounded towards zero, plus one, without those
  that the audio's end cuts off.
  """
  count = int(samples // RATE - WINDOW / RATE) + 1
  return min(count, (samples - WINDOW) // RATE + 1)


def _part(onnx, model, nodes: slice, inputs: dict, outputs: dict) -> bytes:
  """Returns some of a model's nodes as a model.

  Args:
    inputs: shapes by name.
    outputs: numbers of dimensions by name.
  """
  helper, kind = onnx.helper, onnx.TensorProto.FLOAT
  nodes = model.graph.node[nodes]
  used = {name for node in nodes for name in node.input}
  graph = helper.make_graph(
    nodes,
    "part",
    [
      helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()
    ],
    [helper.make_tensor_value_info(n, kind, [None] * r) for n, r in outputs.items()],
    [one for one in model.graph.initializer if one.name in used],
  )
  part = helper.make_model(graph, opset_imports=model.opset_import)
  part.ir_version = model.ir_version
  return part.SerializeToString()


def _run(session, value: np.ndarray) -> np.ndarray:
  return session.run(None, {session.get_inputs()[0].name: value})[0]
