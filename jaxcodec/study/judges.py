"""The rules that decide on the paper's findings, for one language model at a time.

Each rule returns a verdict and the numbers behind it.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxcodec.stats.anova import attribution
from jaxcodec.stats.bootstrap import (
  Aligned,
  correlation,
  interval,
  resampled_correlations,
)
from jaxcodec.stats.significance import compare, holm
from jaxcodec.study.evidence import (
  CONTRADICTED,
  GENERATED,
  SUPPORTED,
  UNDECIDED,
  Evidence,
  by_tokens,
  clear_sign,
  groups_of_tokens,
  level_of_tokens,
  within,
)
from jaxcodec.study.measurements import on_common

ALPHA = 0.05


def judge_reversals(evidence: Evidence) -> tuple[str, Any]:
  """Judges whether a codec that reconstructs better than another generates worse."""
  tests = []
  for a, b in itertools.combinations(range(len(evidence.codecs)), 2):
    names = (evidence.codecs[a].name, evidence.codecs[b].name)
    measures = {"reconstruction": evidence.reconstruction, **evidence.generation}
    for measure, aligned in measures.items():
      tests.append({"pair": names, "measure": measure, **compare(aligned, a, b)})
  for test, p in zip(tests, holm([t["p_permutation"] for t in tests]), strict=True):
    test["p_holm"] = p
    # p is given the trained models; the interval is also over seeds, if there are some.
    test["sign"] = clear_sign(test["ci95"]) if p < ALPHA else 0
  better = {t["pair"]: t["sign"] for t in tests if t["measure"] == "reconstruction"}
  products = [
    better[t["pair"]] * t["sign"]
    for t in tests
    if t["measure"] != "reconstruction" and better[t["pair"]]
  ]
  if -1 in products:
    return SUPPORTED, tests
  every = set(evidence.generation) == set(GENERATED)
  agree = every and bool(products) and all(product == 1 for product in products)
  return (CONTRADICTED if agree else UNDECIDED), tests


def attribution_judge(measure: str, sign: int) -> Callable[[Evidence], tuple[str, Any]]:
  """Returns a judge of which factor explains more of a measure.

  Args:
    measure: a name from GENERATED.
    sign: the claim, 1 for the quantiser and -1 for the decoder.
  """

  def judge(evidence: Evidence) -> tuple[str, Any]:
    quantizers = [level_of_tokens(codec) for codec in evidence.codecs]
    decoders = [codec.decoder for codec in evidence.codecs]
    shared = len(groups_of_tokens([c.name for c in evidence.codecs])) < len(decoders)
    measured = evidence.generation[measure]
    numbers = attribution(measured, quantizers, decoders, shared=shared)
    clear = clear_sign(numbers["quantizer_less_decoder"]["ci95"])
    return {sign: SUPPORTED, -sign: CONTRADICTED}.get(clear, UNDECIDED), numbers

  return judge


def judge_dac(evidence: Evidence) -> tuple[str, Any]:
  """Judges whether DAC leads the others, and Vocos' decoder equals DAC's."""
  lead = _compare_dac(evidence)
  equal = _compare_decoders(evidence)
  verdicts = {lead["verdict"], equal["verdict"]}
  numbers = {"dac_leads": lead, "vocos_equals_dac_decoder": equal}
  if CONTRADICTED in verdicts:
    return CONTRADICTED, numbers
  return (SUPPORTED if verdicts == {SUPPORTED} else UNDECIDED), numbers


def _find(evidence: Evidence, quantizer: str, decoder: str) -> int | None:
  """Returns the index of the codec with these parts, None if there is none.

  In the frozen design no codec is DAC: its tokens are of another one's encoder.
  """
  for index, codec in enumerate(evidence.codecs):
    if (level_of_tokens(codec), codec.decoder) == (quantizer, decoder):
      return index
  return None


def _compare_dac(evidence: Evidence) -> dict[str, Any]:
  """Compares DAC's overall score with each other codec's, and with the others' mean."""
  dac, others = _find(evidence, "factorized", "dac"), len(evidence.codecs) - 1
  if dac is None or not others:
    return {"verdict": UNDECIDED, "why": "no DAC, or nothing to compare it with"}
  generation = on_common(evidence.generation)
  count = len(next(iter(generation.values())).ids)
  if not count:
    return {"verdict": UNDECIDED, "why": "no utterance has all measures"}
  score_RxM, score_M = overall_scores(generation)
  leads = {}
  for index, codec in enumerate(evidence.codecs):
    if index != dac:
      lead_R = score_RxM[:, dac] - score_RxM[:, index]
      leads[codec.name] = {
        "value": float(score_M[dac] - score_M[index]),
        "ci": interval(lead_R, count, level=1 - ALPHA / others),
      }
  rest = np.arange(len(score_M)) != dac
  mean_R = score_RxM[:, dac] - score_RxM[:, rest].mean(1)
  mean = {
    "value": float(score_M[dac] - score_M[rest].mean()),
    "ci95": interval(mean_R, count),
  }
  behind = any(clear_sign(lead["ci"]) < 0 for lead in leads.values())
  ahead = clear_sign(mean["ci95"]) > 0 and score_M.argmax() == dac
  verdict = CONTRADICTED if behind else SUPPORTED if ahead else UNDECIDED
  return {"verdict": verdict, "over_each": leads, "over_the_mean": mean, "n": count}


def overall_scores(
  generation: Mapping[str, Aligned],
) -> tuple[np.ndarray, np.ndarray]:
  """Averages the measures, each in standard deviations between the systems.

  Returns:
    the systems' scores in every resample (R, M), and as measured (M,).
  """
  replicates, found = [], []
  for aligned in generation.values():
    means = aligned.means()
    spread = means.std() or 1.0
    replicates.append((aligned.resampled() - means.mean()) / spread)
    found.append((means - means.mean()) / spread)
  return np.mean(replicates, axis=0), np.mean(found, axis=0)


def _compare_with_margin(pair: Aligned, margin: float, count: int) -> dict[str, Any]:
  """Compares two systems' difference with a margin, as one of `count` tests.

  A finding is supported if all differences are inside, for which each can be tested at
  95%. It is contradicted if one is outside, for which Bonferroni's interval is used.
  """
  found = compare(pair, 0, 1)
  resampled_RxM = pair.resampled()
  difference_R = resampled_RxM[:, 0] - resampled_RxM[:, 1]
  wide = interval(difference_R, len(pair.ids), level=1 - ALPHA / count)
  verdicts = {within(found["ci95"], margin), within(wide, margin)}
  if SUPPORTED in verdicts:
    verdict = SUPPORTED
  else:
    verdict = CONTRADICTED if verdicts == {CONTRADICTED} else UNDECIDED
  return {**found, "ci_bonferroni": wide, "verdict": verdict}


def _compare_decoders(evidence: Evidence) -> dict[str, Any]:
  """Compares Vocos' decoder with DAC's behind the same quantiser, by every measure."""
  tests = []
  pairs = {
    quantizer: [_find(evidence, quantizer, decoder) for decoder in ("vocos", "dac")]
    for quantizer in sorted({level_of_tokens(codec) for codec in evidence.codecs})
  }
  pairs = {name: pair for name, pair in pairs.items() if None not in pair}
  count = len(pairs) * len(evidence.generation)
  for quantizer, pair in pairs.items():
    for measure, aligned in evidence.generation.items():
      margin = evidence.margins[measure]
      row = {"quantizer": quantizer, "measure": measure, "margin": margin}
      tests.append(
        {**row, **_compare_with_margin(aligned.columns(*pair), margin, count)}
      )
  verdicts = {test["verdict"] for test in tests}
  if CONTRADICTED in verdicts:
    verdict = CONTRADICTED
  else:
    verdict = SUPPORTED if verdicts == {SUPPORTED} else UNDECIDED
  return {"verdict": verdict, "tests": tests}


def judge_correlations(evidence: Evidence) -> tuple[str, Any]:
  """Judges whether reconstruction correlates with naturalness alone."""
  names = [codec.name for codec in evidence.codecs]
  x_M = by_tokens(names, evidence.reconstruction.means())
  y_MxY = np.stack([evidence.generation[name].means() for name in GENERATED], axis=1)
  y_MxY = by_tokens(names, y_MxY)
  found = {
    name: correlation(x_M, y_M, "pearson")
    for name, y_M in zip(GENERATED, y_MxY.T, strict=True)
  }
  replicates = resampled_correlations(x_M, y_MxY, "pearson")
  for column, name in enumerate(GENERATED[1:], 1):
    difference_R = replicates[:, 0] - replicates[:, column]
    found[name]["naturalness_less_this"] = interval(difference_R, len(x_M))
  signs = {name: _correlation_sign(found[name]) for name in GENERATED}
  others = [found[name]["naturalness_less_this"] for name in GENERATED[1:]]
  if signs["naturalness"] < 0 or 1 in (signs["intelligibility"], signs["speaker"]):
    return CONTRADICTED, found
  more = all(clear_sign(ci) > 0 for ci in others)
  return (SUPPORTED if signs["naturalness"] > 0 and more else UNDECIDED), found


def _correlation_sign(found: Mapping[str, Any]) -> int:
  """Returns the sign that both intervals have, 0 if they have none in common."""
  signs = {clear_sign(found["ci95"]), clear_sign(found["fisher95"])}
  return signs.pop() if len(signs) == 1 else 0
