"""Says in words what a study was made on, and what that scale can't show."""

from collections.abc import Mapping
from typing import Any

Study = Mapping[str, Any]


DESIGNS = {
  "joint": (
    "Design: joint, as in the paper. Every codec is trained whole, with tokens of its"
    " own, so that systems with other decoders differ in their tokens too."
  ),
  "frozen": (
    "Design: frozen. Decoders are trained for the tokens of codecs that are done. A"
    " language model is trained once for each set of tokens and generates once, and"
    " every decoder speaks the same codes: systems differ in the decoder alone, or in"
    " the tokens alone."
  ),
}
# What is trained in each design, if all else is the same.
_TRAINED = {"joint": "Codecs", "frozen": "Decoders"}
# At this word or character error rate, sentences can't be understood.
UNINTELLIGIBLE = 0.9


def sentences(study: Study) -> list[str]:
  """Returns sentences about the data, the training and the seeds, and warnings."""
  s, seeds = study["setting"], study.get("seeds", study["settings"]["seeds"])
  said = [
    f"Data: {s['data']}. Language models: {s['slm_steps']} steps."
    f" Measured on at most {s['reconstructed']} reconstructed and {s['generated']}"
    f" generated held-out sentences. Seeds: {', '.join(map(str, seeds))}.",
    about_design(study),
  ]
  if len(seeds) == 1:
    said.append(
      "With one seed the intervals are over sentences only: they don't show how much"
      " another training of the same system would differ."
    )
  if of_some := study.get("seeds_of_some"):
    said.append(
      f"Seeds that not all systems have: {', '.join(map(str, of_some))}. They count"
      " where all that are compared have them."
    )
  said += _unequal(study.get("differences", {}))  # earlier studies don't have them
  return said + [
    text for slm in study["generation"] for text in _speechless(study, slm)
  ]


def about_design(study: Study) -> str:
  """Says what the design is and how its codecs, or their decoders, were trained."""
  design, tokens = study.get("design", "joint"), study.get("tokens_training")
  said = f"{DESIGNS[design]} {_TRAINED[design]}: {_trained(study['setting'])}."
  if design == "frozen" and tokens:
    said += f" The codecs whose tokens they speak: {_trained(tokens)}."
  return said


def _trained(s: Mapping[str, Any]) -> str:
  start = s["adversarial_start"]
  judged = "without discriminators"
  if start is not None:
    judged = f"with discriminators from step {start}"
  crops = f"{s['codec_batch']} x {s['crop_seconds']:g} s"
  return f"{s['codec_steps']} steps of {crops}, {judged}"


def views(study: Study) -> dict[str, Study]:
  """Returns the study as each of its designs but the first has it, by the design."""
  others = study.get("other_designs", {})
  return {name: {**study, **found, "design": name} for name, found in others.items()}


def _unequal(differences: Mapping[str, Any]) -> list[str]:
  """Returns what codecs differ in besides quantiser and decoder."""
  said = [f"Codecs also differ in {line}." for line in differences.get("encoder", ())]
  said += [
    f"Unequal conditions: codecs differ in {line}. What is attributed to a part may be"
    " due to this."
    for line in differences.get("codec", ())
  ]
  return said


def _speechless(study: Study, slm: str) -> list[str]:
  """Returns a warning if no system's words can be understood."""
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
