"""Metrics by the names that configs and results.json use."""

import functools
from collections.abc import Callable, Sequence

from jaxcodec.evals.metric import Metric
from jaxcodec.evals.metrics import codebooks, error_rate, mos, signal, speaker
from jaxcodec.evals.models import asr as asr_models
from jaxcodec.evals.models import speaker as speakers

RECONSTRUCTION = (
  "pesq_wb",
  "stoi",
  "si_sdr",
  "mel_distance",
  "dnsmos_ovrl",
  "wer",
  "cer",
  "codebook_usage",
  "codebook_perplexity",
  "bitrate_kbps",
)
OF_CODES = ("codebook_usage", "codebook_perplexity")
GENERATION = ("wer", "cer", "speaker_similarity", "dnsmos_ovrl")

_PLAIN: dict[str, Callable[[], Metric]] = {
  cls.name: cls
  for cls in (
    signal.PesqWb,
    signal.Stoi,
    signal.SiSdr,
    signal.MelDistance,
    mos.DistillMos,
  )
}
_DNSMOS, _UTMOS = mos.DnsmosOverall.name, mos.Utmos.name
_SPEAKER = speaker.SpeakerSimilarity.name
_WITH_ASR = {
  cls.name: cls for cls in (error_rate.WordErrorRate, error_rate.CharacterErrorRate)
}
_WITH_SPEC = {
  cls.name: cls
  for cls in (codebooks.CodebookUsage, codebooks.CodebookPerplexity, codebooks.Bitrate)
}
KNOWN = (*_PLAIN, _DNSMOS, _UTMOS, _SPEAKER, *_WITH_ASR, *_WITH_SPEC)


def make_metrics(
  names: Sequence[str],
  *,
  spec: codebooks.Spec | None = None,
  asr: str = asr_models.DEFAULT,
  speaker_model: str = speakers.DEFAULT,
  utmos: str | None = None,
  threads: int = 1,
) -> list[Metric]:
  """Metrics in the order of their names; nothing is loaded yet.

  Args:
    names: from KNOWN.
    spec: the codec's token spec; only the codebook metrics and the bitrate need it.
    asr: the recogniser of the error rates; see `asr.choose_asr`.
    speaker_model: of the speaker similarity; see `speaker_models.choose_speaker`.
    utmos: file of the metric `utmos`; see `mos.Utmos`.
    threads: CPU threads of each neural metric.

  Raises:
    ConfigError: a model that a metric needs is not there; names the field.
    ValueError: an unknown or repeated name, or a codebook metric without a spec.
  """
  makers: dict[str, Callable[[], Metric]] = {
    **_PLAIN,
    _DNSMOS: lambda: mos.DnsmosOverall(threads=threads),
    _UTMOS: lambda: mos.Utmos(utmos),
    _SPEAKER: lambda: speaker.SpeakerSimilarity(speaker_model, threads=threads),
    **{n: functools.partial(c, asr, threads=threads) for n, c in _WITH_ASR.items()},
    **{n: functools.partial(c, spec) for n, c in _WITH_SPEC.items()},
  }
  for name in names:
    if name not in makers:
      raise ValueError(f"unknown metric {name!r}; known: {', '.join(KNOWN)}")
    if name in _WITH_SPEC and spec is None:
      raise ValueError(f"metric {name!r} needs the codec's token spec")
  if len(set(names)) != len(names):
    raise ValueError(f"a metric is named twice in {tuple(names)}")
  return [makers[name]() for name in names]
