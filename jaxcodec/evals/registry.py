"""Metrics by the names that configs and results.json use."""

from collections.abc import Callable, Sequence

from jaxcodec.evals import asr as asr_models
from jaxcodec.evals import error_rate, mos, signal_metrics, speaker, tokens
from jaxcodec.evals.metric import Metric

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
    signal_metrics.PesqWb,
    signal_metrics.Stoi,
    signal_metrics.SiSdr,
    signal_metrics.MelDistance,
    mos.DistillMos,
  )
}
_WITH_THREADS = {
  cls.name: cls for cls in (mos.DnsmosOverall, speaker.SpeakerSimilarity)
}
_WITH_ASR = {
  cls.name: cls for cls in (error_rate.WordErrorRate, error_rate.CharacterErrorRate)
}
_WITH_SPEC = {
  cls.name: cls
  for cls in (tokens.CodebookUsage, tokens.CodebookPerplexity, tokens.Bitrate)
}
KNOWN = (*_PLAIN, *_WITH_THREADS, *_WITH_ASR, *_WITH_SPEC)


def make_metrics(
  names: Sequence[str],
  *,
  spec: tokens.Spec | None = None,
  asr: str = asr_models.DEFAULT,
  threads: int = 1,
) -> list[Metric]:
  """Metrics in the order of their names; nothing is loaded yet.

  Args:
    names: from KNOWN.
    spec: the codec's token spec; only the codebook metrics and the bitrate need it.
    asr: see `asr.load_asr`.
    threads: CPU threads of each neural metric.

  Raises:
    ValueError: an unknown or repeated name, or a codebook metric without a spec.
  """
  metrics = []
  for name in names:
    if name in _PLAIN:
      metrics.append(_PLAIN[name]())
    elif name in _WITH_THREADS:
      metrics.append(_WITH_THREADS[name](threads=threads))
    elif name in _WITH_ASR:
      metrics.append(_WITH_ASR[name](asr, threads=threads))
    elif name in _WITH_SPEC and spec is not None:
      metrics.append(_WITH_SPEC[name](spec))
    elif name in _WITH_SPEC:
      raise ValueError(f"metric {name!r} needs the codec's token spec")
    else:
      raise ValueError(f"unknown metric {name!r}; known: {', '.join(KNOWN)}")
  if len(set(names)) != len(names):
    raise ValueError(f"a metric is named twice in {tuple(names)}")
  return metrics
