"""Pure loss functions of codec training; all in float32."""

from jaxcodec.losses.adversarial import (
  ADVERSARIAL,
  FEATURE_MATCHING,
  AdversarialLoss,
  Maps,
)
from jaxcodec.losses.balancer import Balancer, BalancerState
from jaxcodec.losses.signal import si_sdr, waveform_l1
from jaxcodec.losses.spectral import (
  DAC_MELS,
  ENCODEC_MELS,
  MEL,
  VOCOS_MELS,
)

__all__ = [
  *("ADVERSARIAL", "DAC_MELS", "ENCODEC_MELS", "FEATURE_MATCHING", "MEL"),
  *("VOCOS_MELS", "AdversarialLoss", "Balancer", "BalancerState", "Maps"),
  *("si_sdr", "waveform_l1"),
]
