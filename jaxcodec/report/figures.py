"""Draws the reports' figures as data URIs, legible in grey and on a phone."""

import base64
import contextlib
import io
from collections.abc import Sequence

import matplotlib
import numpy as np
import soundfile
from matplotlib.figure import Figure
from PIL import Image

from jaxcodec.evals.metrics.spectrum import log_mel

INK, ACCENT, MUTED = "#1b1f24", "#0b5a8a", "#b4561f"
_MAX_POINTS = 300
_RANGE_DB = 80.0
_STYLE = {
  "font.family": "sans-serif",
  "font.size": 10,
  "axes.edgecolor": "#6b7280",
  "axes.labelcolor": INK,
  "axes.titlesize": 10.5,
  "axes.titleweight": "bold",
  "axes.titlelocation": "left",
  "axes.titlecolor": INK,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.grid": True,
  "axes.axisbelow": True,
  "axes.formatter.limits": (-3, 5),
  "grid.color": "#e5e7eb",
  "xtick.color": INK,
  "ytick.color": INK,
  "legend.frameon": False,
  "svg.fonttype": "none",
  # Fixed ids: the same numbers give the same bytes.
  "svg.hashsalt": "jaxcodec",
}


@contextlib.contextmanager
def new_axes(width: float, height: float):
  """Yields (figure, axes) in the reports' style; needs no display.

  Args:
    width, height: inches.
  """
  with matplotlib.rc_context(_STYLE):
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure, figure.add_subplot()


def svg(figure: Figure) -> str:
  """Returns the figure as an SVG's data URI; the same figure gives the same bytes."""
  buffer = io.BytesIO()
  figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
  return data_uri(buffer.getvalue(), "image/svg+xml")


def data_uri(content: bytes, mime: str) -> str:
  """Returns content as a data URI."""
  return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def training_curve(name: str, series: dict[str, tuple[np.ndarray, np.ndarray]]) -> str:
  """Draws one metric against the step, `train` solid, `eval` dashed (SVG).

  Args:
    name: of the metric.
    series: steps (P,) and values (P,) by split; values (P, K) give one line a codebook.
  """
  looks = {
    "train": {"color": ACCENT, "linewidth": 1.3},
    "eval": {"color": MUTED, "linewidth": 1.6, "linestyle": "--", "marker": "o"},
  }
  with new_axes(4.2, 2.6) as (figure, axes):
    for split, (steps, values) in series.items():
      steps, values = thin(steps, values.reshape(len(values), -1))
      look = looks.get(split, {"color": INK})
      for index, column in enumerate(values.T):
        fade = 1 - 0.75 * index / max(1, values.shape[1])
        label = split if index == 0 else None
        axes.plot(steps, column, label=label, alpha=fade, markersize=3.5, **look)
    axes.set(title=name, xlabel="step")
    if len(series) > 1:
      axes.legend()
    return svg(figure)


def thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Averages runs of neighbours so that at most _MAX_POINTS points are left."""
  parts = min(len(steps), _MAX_POINTS)
  splits = np.array_split(np.arange(len(steps)), parts)
  return (
    np.array([steps[s].mean() for s in splits]),
    np.array([values[s].mean(axis=0) for s in splits]),
  )


def codebook_bars(values: list[float], *, label: str, top: float) -> str:
  """Draws one bar a codebook, coarse to fine (SVG).

  Args:
    values: one a codebook.
    label: of the vertical axis.
    top: the largest possible value.
  """
  with new_axes(4.2, 2.6) as (figure, axes):
    books = np.arange(len(values))
    bars = axes.bar(books, values, color=ACCENT, width=0.7)
    if len(values) <= 12:
      axes.bar_label(bars, [f"{v:.3g}" for v in values], fontsize=8, color=INK)
    ends = 1.1 * min(0, *values), 1.1 * top
    axes.set(xlabel="codebook", ylabel=label, ylim=ends, xticks=books)
    axes.grid(visible=False, axis="x")
    return svg(figure)


def spectrogram(audio: np.ndarray, sample_rate: int, *, peak: float) -> str:
  """Draws a log-mel spectrogram by librosa, over the 80 dB below `peak` (PNG).

  Args:
    audio: (N,) samples.
    sample_rate: Hz.
    peak: the value of `log_mel` that is drawn brightest; the same for compared clips.
  """
  import librosa.display  # with numba and scipy.stats, which no start waits for

  hop = _hop(len(audio))
  mel_TxM = 20 * (log_mel(audio, sample_rate, hop=hop) - peak)
  with new_axes(4.2, 2.2) as (figure, axes):
    librosa.display.specshow(
      mel_TxM.T,
      sr=sample_rate,
      hop_length=hop,
      x_axis="s",
      y_axis="mel",
      fmax=sample_rate / 2,
      vmin=-_RANGE_DB,
      vmax=0,
      cmap="magma",
      ax=axes,
    )
    ticks = [k for k in (0.5, 1, 2, 4, 8, 16) if k * 2000 <= sample_rate]
    axes.set(xlabel="time (s)", ylabel="frequency (kHz)")
    axes.set_yticks([k * 1000 for k in ticks], ticks)
    axes.minorticks_off()
    axes.grid(visible=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
  return data_uri(_palette(buffer), "image/png")


def alignment(
  percent_TxS: np.ndarray, symbols: Sequence[str], frame_rate: float, prompt: int
) -> str:
  """Draws which symbols frames were spoken from (PNG).

  Args:
    percent_TxS: attention over the symbols.
    symbols: of the text.
    frame_rate: Hz.
    prompt: frames of the prompt, behind which a line is drawn.
  """
  frames, count = percent_TxS.shape
  with new_axes(8.4, 5.0) as (figure, axes):
    extent = (0, frames / frame_rate, -0.5, count - 0.5)
    look = {"aspect": "auto", "origin": "lower", "interpolation": "nearest"}
    axes.imshow(percent_TxS.T, extent=extent, cmap="magma", **look)
    if prompt:
      axes.axvline(prompt / frame_rate, color="white", linewidth=1, linestyle="--")
    axes.set(xlabel="time (s)", ylabel="symbols")
    axes.set_yticks(range(count), symbols, fontsize=min(8, 300 / count))
    axes.grid(visible=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
  return data_uri(_palette(buffer), "image/png")


def _hop(samples: int) -> int:
  """Returns a hop that gives about 400 frames, as many as the picture's pixels."""
  return max(256, samples // 400)


def _palette(png: io.BytesIO) -> bytes:
  """Reduces a picture to 128 colours, which take a third of the bytes."""
  small = io.BytesIO()
  image = Image.open(png).convert("RGB").quantize(128)
  image.save(small, format="png", optimize=True)
  return small.getvalue()


def audio_uri(audio: np.ndarray, sample_rate: int) -> str:
  """Returns audio as 16-bit FLAC, which is lossless and which current browsers play."""
  buffer = io.BytesIO()
  soundfile.write(buffer, audio, sample_rate, format="FLAC", subtype="PCM_16")
  return data_uri(buffer.getvalue(), "audio/flac")
