"""The paper's five findings, and verdicts on them from this study's intervals.

Each language model is judged by itself. A finding is `supported` or `contradicted` if
it is for all of them, else `undecided`.

Source of the findings: arXiv 2409.04016.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcodec.study import judges, power
from jaxcodec.study.evidence import GENERATED, UNDECIDED, Evidence, unanimous

RECONSTRUCTION = "reconstruction"


class PaperFinding(NamedTuple):
  """A claim, the rule that decides on it, and the function that applies the rule.

  The `roles` are what it wants measured; more of the `unit` makes its intervals
  narrower.
  """

  claim: str
  rule: str
  judge: power.Judge
  roles: tuple[str, ...]
  unit: str = power.SENTENCES


def judge_all(evidence: Mapping[str, Evidence | None]) -> list[dict[str, Any]]:
  """Returns each finding's verdict, its rule, and the numbers by language model.

  What is `needed` by a language model, as in `power.Need`, is what would decide where
  it leaves the finding undecided.

  Args:
    evidence: by language model; None, which decides nothing, if nothing was measured.
  """
  rows = []
  for number, finding in enumerate(FINDINGS, 1):
    judged = {slm: _judge(finding, found) for slm, found in evidence.items()}
    verdicts = {slm: verdict for slm, (verdict, _) in judged.items()}
    rows.append(
      {
        "number": number,
        "claim": finding.claim,
        "verdict": unanimous(verdicts.values()),
        "rule": finding.rule,
        "by_slm": verdicts,
        "numbers": {slm: numbers for slm, (_, numbers) in judged.items()},
        "needed": {
          slm: _needed(finding, found) if judged[slm][0] == UNDECIDED else None
          for slm, found in evidence.items()
        },
      }
    )
  return rows


def _judge(finding, evidence):
  """Returns the verdict and its numbers, or which measures are missing."""
  missing = [role for role in finding.roles if not evidence or not _has(evidence, role)]
  if missing:
    return UNDECIDED, f"not measured: {', '.join(missing)}"
  return finding.judge(evidence)


def _has(evidence, role):
  if role == RECONSTRUCTION:
    return evidence.reconstruction is not None
  return role in evidence.generation


def _needed(finding, evidence):
  if isinstance(_judge(finding, evidence)[1], str):
    return None
  need = power.needed(finding.judge, evidence, finding.roles, finding.unit)
  return need and need._asdict()


FINDINGS = (
  PaperFinding(
    "Better reconstruction does not guarantee better generation.",
    "Supported if some codec reconstructs better than another and generates worse by"
    " some measure, both with p < 0.05 by the paired permutation test after Holm's"
    " correction over all pairs and measures, and by their 95% intervals, which with"
    " several seeds are over trainings, too. Contradicted if every pair that differs"
    " in reconstruction differs in every generation measure in the same direction.",
    judges.judge_reversals,
    (RECONSTRUCTION,),
  ),
  PaperFinding(
    "The decoder decides naturalness.",
    "By the 95% interval of the variance between quantisers less that between decoders"
    " (components of a two-way analysis of variance of generated naturalness):"
    " supported if all of it is below zero, contradicted if above.",
    judges.attribution_judge("naturalness", -1),
    ("naturalness",),
  ),
  PaperFinding(
    "The quantiser decides intelligibility.",
    "By the same interval for intelligibility: supported if all of it is above zero,"
    " contradicted if below.",
    judges.attribution_judge("intelligibility", 1),
    ("intelligibility",),
  ),
  PaperFinding(
    "DAC does best overall, and Vocos' decoder is about as good as DAC's.",
    "Overall is the mean of the generation measures in standard deviations between"
    " systems. Supported if DAC has the highest, its lead over the mean of the others"
    " is above zero by its 95% interval, and every 95%"
    " interval of Vocos' decoder less DAC's with the same quantiser is inside of the"
    " margins. Contradicted if a codec is ahead or one of those differences is outside"
    " of its margin (both Bonferroni).",
    judges.judge_dac,
    GENERATED,
  ),
  PaperFinding(
    "Reconstruction correlates with generated naturalness, not with speaker similarity"
    " or intelligibility.",
    "Supported if Pearson's correlation over codecs with naturalness is above zero by"
    " both the bootstrap's and Fisher's 95% interval, and above the other two by the"
    " bootstrap's. Contradicted if it is below zero, or one of the others above zero,"
    " by both intervals.",
    judges.judge_correlations,
    (RECONSTRUCTION, *GENERATED),
    power.CODECS,
  ),
)
