"""The recogniser and the speaker model against transformers, on random weights.

Ours pads clips to a few lengths; transformers gets each clip alone.
"""

import json
import warnings

import numpy as np
import originals
import pytest
from evals_helpers import clip, voice
from test_hubert import LARGE, SIZES
from test_wavlm import LAYOUTS
from test_wavlm import SIZES as WAVLM_SIZES

from jaxcodec.evals.models import asr
from jaxcodec.evals.registry import make_metrics

torch = pytest.importorskip("torch")
transformers = originals.transformers()
pytestmark = pytest.mark.parity

SYMBOLS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLU")


def _prepared(extractor, audio_N):
  found = extractor(audio_N, sampling_rate=16_000, return_tensors="pt")
  return found.input_values


@pytest.mark.parametrize("layout", [{}, LARGE], ids=["base", "large"])
def test_same_logits_and_transcripts(layout, tmp_path):
  """Two of the three lengths are padded to one."""
  torch.manual_seed(0)
  config = transformers.HubertConfig(**SIZES, **layout, vocab_size=len(SYMBOLS))
  theirs = originals.shaken(transformers.HubertForCTC(config))
  theirs.save_pretrained(tmp_path)
  extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
  extractor.save_pretrained(tmp_path)
  vocabulary = tmp_path / "vocab.json"
  vocabulary.write_text(json.dumps({name: i for i, name in enumerate(SYMBOLS)}))
  tokeniser = transformers.Wav2Vec2CTCTokenizer(str(vocabulary))
  ours = asr.load_asr(str(tmp_path))
  texts = []
  for seconds in (0.6, 1.1, 1.7):
    audio_N = voice(int(10 * seconds), seconds)
    with torch.no_grad():
      expected = theirs(_prepared(extractor, audio_N)).logits[0].numpy()
    got = ours.logits(audio_N)
    assert got.shape == expected.shape
    largest = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, atol=1e-5 * largest, rtol=0)
    texts.append(ours.transcribe(audio_N))
    assert texts[-1] == tokeniser.decode(expected.argmax(-1))
  assert len(set(texts)) > 1
  assert ours._logits._run._cache_size() == 2


def test_same_cosines_of_speakers(tmp_path):
  torch.manual_seed(0)
  config = transformers.WavLMConfig(**WAVLM_SIZES, **LAYOUTS["base-sv"])
  theirs = originals.shaken(transformers.WavLMForXVector(config))
  theirs.save_pretrained(tmp_path)
  extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False)
  extractor.save_pretrained(tmp_path)
  (metric,) = make_metrics(["speaker_similarity"], speaker_model=str(tmp_path))
  assert f"WavLM model {tmp_path.name} " in metric.measures
  ((name, digest),) = metric.load().items()
  assert name == tmp_path.name and len(digest) == 64
  one = clip(3)
  with torch.no_grad():
    vectors = [
      theirs(_prepared(extractor, x)).embeddings[0] for x in (one.audio, one.prompt)
    ]
  for audio_N, vector in zip((one.audio, one.prompt), vectors, strict=True):
    unit = vector / vector.norm()
    np.testing.assert_allclose(metric.embed(audio_N), unit, atol=1e-5, rtol=0)
  cosine = torch.nn.functional.cosine_similarity(*vectors, dim=0)
  assert metric.score(one).value == pytest.approx(float(cosine), abs=1e-5)


def test_utmos_is_what_the_script_says(tmp_path):
  """Uses a script that maps (1, N) to one score, as utmos_pytorch's does."""

  class StandIn(torch.nn.Module):
    def forward(self, wavs: torch.Tensor) -> torch.Tensor:
      assert wavs.dim() == 2
      return 1 + wavs.abs().amax(1)

  path = tmp_path / "utmos_scripted.pt"
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # PyTorch prefers its newer format.
    torch.jit.script(StandIn()).save(path)
  (metric,) = make_metrics(["utmos"], utmos=str(path))
  assert len(metric.load()["utmos"]) == 64 and path.name in metric.measures
  one = clip(1)
  assert metric.score(one).value == pytest.approx(1 + np.abs(one.audio).max())
  path.write_bytes(b"something else")
  with pytest.raises(ValueError, match="utmos_scripted.pt: not a TorchScript file"):
    metric.load()
