"""Pure loss functions of codec training; all in float32."""

from jaxcodec.losses.adversarial import (
  ADVERSARIAL,
  FEATURE_MATCHING,
  AdversarialLoss,
  Maps,
  feature_matching,
  hinge_discriminator,
  hinge_generator,
  linear_generator,
  lsgan_discriminator,
  lsgan_generator,
  mean_feature_matching,
  score_matching,
)
from jaxcodec.losses.balancer import Balancer, BalancerState
from jaxcodec.losses.signal import si_sdr, waveform_l1
from jaxcodec.losses.spectral import (
  DAC_MELS,
  ENCODEC_MELS,
  MEL,
  VOCOS_MELS,
  linear_and_log_mel,
  multiscale_mel,
  natural_log_mel,
)

__all__ = [
  "ADVERSARIAL",
  "DAC_MELS",
  "ENCODEC_MELS",
  "FEATURE_MATCHING",
  "MEL",
  "VOCOS_MELS",
  "AdversarialLoss",
  "Balancer",
  "BalancerState",
  "Maps",
  "feature_matching",
  "hinge_discriminator",
  "hinge_generator",
  "linear_and_log_mel",
  "linear_generator",
  "lsgan_discriminator",
  "lsgan_generator",
  "mean_feature_matching",
  "multiscale_mel",
  "natural_log_mel",
  "score_matching",
  "si_sdr",
  "waveform_l1",
]
