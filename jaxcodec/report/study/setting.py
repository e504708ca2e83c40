"""What a study was made on, and what that scale cannot show, in sentences."""

from collections.abc import Mapping
from typing import Any

Study = Mapping[str, Any]


# A word error rate from which on the words of a sentence are not said.
UNINTELLIGIBLE = 0.9


def sentences(study: Study) -> list[str]:
  """What was trained on what, for how long, and warnings that follow from that."""
  s, seeds = study["setting"], list(study["settings"]["seeds"])
  said = [
    f"Data: {s['data']}. Codecs: {s['codec_steps']} steps of {s['codec_batch']} x"
    f" {s['crop_seconds']:g} s, with discriminators from step"
    f" {s['adversarial_start']}. Language models: {s['slm_steps']} steps. Measured on"
    f" at most {s['reconstructed']} reconstructed and {s['generated']} generated"
    f" held-out sentences. Seeds: {', '.join(map(str, seeds))}."
  ]
  if len(seeds) == 1:
    said.append(
      "With one seed the intervals are over sentences only: how much another training"
      " of the same system would differ is not seen."
    )
  return said + [
    text for slm in study["generation"] for text in _speechless(study, slm)
  ]


def _speechless(study: Study, slm: str) -> list[str]:
  """A warning where no system says the words."""
  measure = study["settings"]["measures"]["intelligibility"]
  rates = [
    m[measure]["mean"] for m in study["generation"][slm].values() if measure in m
  ]
  known = [rate for rate in rates if rate is not None]
  if measure not in ("wer", "cer") or not known or min(known) < UNINTELLIGIBLE:
    return []
  return [
    f"With {slm} no system's {measure} is below {UNINTELLIGIBLE}: their words are not"
    " understood, and verdicts about them say little of trained-out models."
  ]
