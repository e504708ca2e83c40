"""Rules for the weights of the original discriminators.

Paths are relative to a discriminator's own `params` collection.
"""

from jaxcodec.porting.dac import weight_norm_rules
from jaxcodec.porting.table import CONV1D, CONV2D, Layout, Rule

# PyTorch's 2-D kernels of a period discriminator are one column wide, ours are 1-D.
_COLUMN = Layout(
  lambda a: a[..., 0].transpose(2, 1, 0), lambda a: a.transpose(2, 1, 0)[..., None]
)


def dac(num_periods: int, num_rates: int = 0) -> tuple[Rule, ...]:
  """Returns the rules for DAC's discriminators.

  The original keeps them in one list: periods, waveform scales, then resolutions.
  Source of the names: dac/model/discriminator.py, Discriminator.

  Args:
    num_periods: the number of period discriminators.
    num_rates: the number of waveform scales.
  """
  period = _member_regex(range(num_periods))
  scale = _member_regex(range(num_periods, num_periods + num_rates))
  ours = r"discriminators_\1"
  return (
    *weight_norm_rules(rf"{period}\.convs\.(\d+)\.0", rf"{ours}/convs_\2", _COLUMN),
    *weight_norm_rules(rf"{scale}\.convs\.(\d+)\.0", rf"{ours}/convs_\2", CONV1D),
    *weight_norm_rules(
      rf"{_member_regex()}\.band_convs\.(\d+)\.(\d+)\.0",
      rf"{ours}/band_convs_\2/layers_\3",
      CONV2D,
    ),
    *weight_norm_rules(rf"{period}\.conv_post", rf"{ours}/conv_post", _COLUMN),
    *weight_norm_rules(rf"{scale}\.conv_post", rf"{ours}/conv_post", CONV1D),
    *weight_norm_rules(rf"{_member_regex()}\.conv_post", rf"{ours}/conv_post", CONV2D),
  )


def _member_regex(indices: range | None = None) -> str:
  """Returns a regex of the sub-discriminators with these indices; of all if None."""
  if indices is None:
    return r"discriminators\.(\d+)"
  return rf"discriminators\.({'|'.join(map(str, indices))})"


# Source: encodec/msstftd.py, MultiScaleSTFTDiscriminator.
ENCODEC = (
  *weight_norm_rules(
    rf"{_member_regex()}\.convs\.(\d+)\.conv", r"discriminators_\1/convs_\2", CONV2D
  ),
  *weight_norm_rules(
    rf"{_member_regex()}\.conv_post\.conv", r"discriminators_\1/conv_post", CONV2D
  ),
  Rule(r"discriminators\.\d+\.spec_transform\.window", None),
)

_PERIOD = rf"multiperioddisc\.{_member_regex()}"
_RESOLUTION = rf"multiresddisc\.{_member_regex()}"
# Source: vocos/experiment.py, VocosExp.
VOCOS = (
  *weight_norm_rules(
    rf"{_PERIOD}\.convs\.(\d+)", r"multiperioddisc_\1/convs_\2", _COLUMN
  ),
  *weight_norm_rules(
    rf"{_PERIOD}\.conv_post", r"multiperioddisc_\1/conv_post", _COLUMN
  ),
  *weight_norm_rules(
    rf"{_RESOLUTION}\.band_convs\.(\d+)\.(\d+)",
    r"multiresddisc_\1/band_convs_\2/layers_\3",
    CONV2D,
  ),
  *weight_norm_rules(
    rf"{_RESOLUTION}\.conv_post", r"multiresddisc_\1/conv_post", CONV2D
  ),
  Rule(r"multiresddisc\.discriminators\.\d+\.spec_fn\.window", None),
)
