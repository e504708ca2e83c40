"""Sources by name: the package's own, and one that is registered from outside."""

import numpy as np
import pytest

from jaxcodec.data.source import SOURCES, DataError, Utterance, open_source


class Tones:
  """Three sines of one speaker."""

  skipped, fingerprint = [], "tones"

  def __init__(self, seconds):
    self.utterances = tuple(
      Utterance(f"u{n}", "ann", f"Number {n}.", seconds) for n in range(3)
    )

  def audio(self, index, sample_rate):
    time_N = np.arange(round(self.utterances[index].seconds * sample_rate))
    return np.sin(time_N * (index + 1) * 0.1).astype(np.float32)


def open_tones(
  path: str | None,
  *,
  sample_rate: int,
  on_error: str,
  seconds: float = 1.0,
  name: str | None = None,
) -> Tones:
  return Tones(seconds)


@pytest.fixture(autouse=True)
def registered():
  SOURCES.register("tones", open_tones)


def test_a_source_from_outside():
  source = open_source("tones", sample_rate=8000, seconds=2)
  assert len(source.utterances) == 3 and len(source.audio(0, 8000)) == 16_000
  assert open_source("tones", sample_rate=8000, name="x").utterances[0].seconds == 1.0


@pytest.mark.parametrize(
  ("options", "reason"),
  [
    ({"second": 1.0}, r"data.options.second: not an option of .*\['name', 'seconds'\]"),
    ({"seconds": "1"}, "data.options.seconds must be float, got '1'"),
    ({"seconds": True}, "data.options.seconds must be float, got True"),
    ({"name": 3}, r"data.options.name must be str \| None, got 3"),
  ],
)
def test_options_are_checked_against_annotations(options, reason):
  with pytest.raises(DataError, match=reason):
    open_source("tones", sample_rate=8000, **options)


def test_the_packages_own_are_kept():
  with pytest.raises(ValueError, match="data.source: jaxcodec has its own 'folder'"):
    SOURCES.register("folder", open_tones)
  with pytest.raises(DataError, match="data.source must be one of .*'tones'.*'noise'"):
    open_source("noise", sample_rate=8000)
