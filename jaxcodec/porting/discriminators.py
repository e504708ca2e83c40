"""The weights of discriminators, of what their `init` calls `params`."""

from jaxcodec.porting.dac import weight_normed
from jaxcodec.porting.table import CONV1D, CONV2D, Layout, Rule

# A period discriminator's 2-D kernels are one column wide.
_COLUMN = Layout(
  lambda a: a[..., 0].transpose(2, 1, 0), lambda a: a.transpose(2, 1, 0)[..., None]
)


def dac(num_periods: int, num_rates: int = 0) -> tuple[Rule, ...]:
  """Rules for DAC's: periods, then waveform scales, then resolutions.

  Source: dac/model/discriminator.py, Discriminator.
  """
  period = _member(range(num_periods))
  scale = _member(range(num_periods, num_periods + num_rates))
  ours = r"discriminators_\1"
  return (
    *weight_normed(rf"{period}\.convs\.(\d+)\.0", rf"{ours}/convs_\2", _COLUMN),
    *weight_normed(rf"{scale}\.convs\.(\d+)\.0", rf"{ours}/convs_\2", CONV1D),
    *weight_normed(
      rf"{_member()}\.band_convs\.(\d+)\.(\d+)\.0",
      rf"{ours}/band_convs_\2/layers_\3",
      CONV2D,
    ),
    *weight_normed(rf"{period}\.conv_post", rf"{ours}/conv_post", _COLUMN),
    *weight_normed(rf"{scale}\.conv_post", rf"{ours}/conv_post", CONV1D),
    *weight_normed(rf"{_member()}\.conv_post", rf"{ours}/conv_post", CONV2D),
  )


def _member(indices: range | None = None) -> str:
  """Regex of the sub-discriminators with these indices; of all if None."""
  if indices is None:
    return r"discriminators\.(\d+)"
  return rf"discriminators\.({'|'.join(map(str, indices))})"


# Source: encodec/msstftd.py, MultiScaleSTFTDiscriminator.
ENCODEC = (
  *weight_normed(
    rf"{_member()}\.convs\.(\d+)\.conv", r"discriminators_\1/convs_\2", CONV2D
  ),
  *weight_normed(
    rf"{_member()}\.conv_post\.conv", r"discriminators_\1/conv_post", CONV2D
  ),
  Rule(r"discriminators\.\d+\.spec_transform\.window", None),
)

_PERIOD = rf"multiperioddisc\.{_member()}"
_RESOLUTION = rf"multiresddisc\.{_member()}"
# Source: vocos/experiment.py, VocosExp.
VOCOS = (
  *weight_normed(rf"{_PERIOD}\.convs\.(\d+)", r"multiperioddisc_\1/convs_\2", _COLUMN),
  *weight_normed(rf"{_PERIOD}\.conv_post", r"multiperioddisc_\1/conv_post", _COLUMN),
  *weight_normed(
    rf"{_RESOLUTION}\.band_convs\.(\d+)\.(\d+)",
    r"multiresddisc_\1/band_convs_\2/layers_\3",
    CONV2D,
  ),
  *weight_normed(rf"{_RESOLUTION}\.conv_post", r"multiresddisc_\1/conv_post", CONV2D),
  Rule(r"multiresddisc\.discriminators\.\d+\.spec_fn\.window", None),
)
