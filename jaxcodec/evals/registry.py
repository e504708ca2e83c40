"""Metrics by the names that configs and results.json use."""

from collections.abc import Sequence

from jaxcodec.data.text.languages import DEFAULT as ENGLISH
from jaxcodec.evals.metric import Metric, MetricSettings, Spec
from jaxcodec.evals.models import asr as asr_models
from jaxcodec.evals.models import speaker as speaker_models
from jaxcodec.registry import Registry

_HERE = "jaxcodec.evals.metrics"
# Classes; `METRICS.register(MyMetric.name, MyMetric)` adds one.
METRICS: Registry[type[Metric]] = Registry(
  "metric",
  {
    "pesq_wb": f"{_HERE}.signal:PesqWb",
    "stoi": f"{_HERE}.signal:Stoi",
    "si_sdr": f"{_HERE}.signal:SiSdr",
    "mel_distance": f"{_HERE}.signal:MelDistance",
    "f0_rmse_cents": f"{_HERE}.pitch:F0Error",
    "voicing_error": f"{_HERE}.pitch:VoicingError",
    "f0_from_prompt_cents": f"{_HERE}.pitch:F0FromPrompt",
    "voiced_share": f"{_HERE}.pitch:VoicedShare",
    "distillmos": f"{_HERE}.mos:DistillMos",
    "dnsmos_ovrl": f"{_HERE}.mos:DnsmosOverall",
    "utmos": f"{_HERE}.mos:Utmos",
    "speaker_similarity": f"{_HERE}.speaker:SpeakerSimilarity",
    "wer": f"{_HERE}.error_rate:WordErrorRate",
    "cer": f"{_HERE}.error_rate:CharacterErrorRate",
    "codebook_usage": f"{_HERE}.codebooks:CodebookUsage",
    "codebook_perplexity": f"{_HERE}.codebooks:CodebookPerplexity",
    "bitrate_kbps": f"{_HERE}.codebooks:Bitrate",
  },
)


def make_metrics(
  names: Sequence[str],
  *,
  spec: Spec | None = None,
  asr: str = asr_models.DEFAULT,
  speaker_model: str = speaker_models.DEFAULT,
  utmos: str | None = None,
  threads: int = 1,
  language: str = ENGLISH,
) -> list[Metric]:
  """Makes metrics in the order of their names; nothing is loaded yet.

  Args:
    names: from METRICS.
    spec: the codec's token spec; only the codebook metrics and the bitrate need it.
    asr: the recogniser of the error rates; see `asr.choose_asr`.
    speaker_model: of the speaker similarity; see `speaker.choose_speaker`.
    utmos: file of the metric `utmos`; see `mos.Utmos`.
    threads: CPU threads of each neural metric.
    language: of the speech, for the error rates; see `asr.choose_asr`.

  Raises:
    ConfigError: a model that a metric needs is not there; names the field.
    ValueError: an unknown or repeated name, or a codebook metric without a spec.
  """
  if len(set(names)) != len(names):
    raise ValueError(f"a metric is named twice in {tuple(names)}")
  settings = MetricSettings(spec, asr, speaker_model, utmos, threads, language)
  return [METRICS.lookup(name).make(settings) for name in names]
