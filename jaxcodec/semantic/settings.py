"""The checked settings of semantic tokens, `config.semantic`."""

import dataclasses
import pathlib

from jaxcodec.semantic.hubert import SAMPLE_RATE

NAMES = ("mfcc", "hubert")


@dataclasses.dataclass(frozen=True)
class SemanticSettings:
  """`config.semantic`.

  Attributes:
    sample_rate: Hz, the codec's.
    num_clusters: number of tokens.
    name: of the features that tokens are clusters of, `mfcc` or `hubert`.
    weights: file or folder of HuBERT's weights; see `porting.hubert`.
    layer: of HuBERT; see `HubertFeatures`.

  Raises:
    ValueError: an unknown name, or no weights or a wrong sample rate for HuBERT.
  """

  sample_rate: int
  num_clusters: int
  name: str = "mfcc"
  weights: str | None = None
  layer: int = 9

  def __post_init__(self):
    if self.name not in NAMES:
      raise ValueError(f"name must be one of {NAMES}, got {self.name!r}")
    if self.name == "hubert":
      self._check_hubert()

  def _check_hubert(self):
    if not self.weights or not pathlib.Path(self.weights).exists():
      raise ValueError(
        f"weights must be a file or folder with HuBERT's weights, got {self.weights!r}"
      )
    if self.sample_rate != SAMPLE_RATE:
      raise ValueError(
        f"hubert needs audio at {SAMPLE_RATE} Hz, got a codec of {self.sample_rate} Hz"
      )
