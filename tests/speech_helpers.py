"""Makes work directories with tiny random models, and recordings of noise."""

import dataclasses
import json

import jax
import numpy as np
import soundfile

from jaxcodec import files, weights
from jaxcodec.build.codec import make_codec
from jaxcodec.build.slm import make_slm, param_shapes
from jaxcodec.build.text import make_vocabulary
from jaxcodec.codecs.shapes import variable_shapes
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.semantic.tokenizer import SemanticTokenizer
from jaxcodec.types import TokenSpec

RATE, HOP, K, V = 8000, 80, 2, 16
FRAMES = 40  # that AR + NAR may speak
_SIZES = dict(width=16, depth=1, heads=2, dropout=0.0)
_CODEC = dict(
  sample_rate=RATE,
  encoder=dict(name="seanet", width=4, strides=(HOP,), latent_dim=8),
  quantizer=dict(
    name="factorized_rvq", num_codebooks=K, codebook_size=V, codebook_dim=4
  ),
  decoder=dict(name="vocos", width=8, mlp_width=16, depth=1, n_fft=4 * HOP, hop=HOP),
)
_TEXTS = dict(
  semantic=dict(name="mfcc", num_clusters=5),
  text=dict(front_end="characters", max_symbols=60),
  slm_train=dict(max_seconds=2.0),
  sampler=dict(max_frames=FRAMES, temperature=1.0, nar_temperature=0.5),
)
CONFIGS = {
  "maskgit": dict(
    slm=dict(name="maskgit", **_SIZES),
    semantic=dict(name="mfcc", num_clusters=5),
    slm_train=dict(crop_seconds=1.2),
    sampler=dict(steps=(2,), temperature=1.0, top_k=0, top_p=1.0),
  ),
  "valle": dict(slm=dict(name="valle", **_SIZES), **_TEXTS),
  "delay": dict(slm=dict(name="delay", **_SIZES), **_TEXTS),
}


def write_run(
  folder, kind, edit=lambda params: params, *, rate=RATE, features=None, **fields
):
  """The work directory.

  Args:
    folder: is made.
    kind: of the language model.
    edit: changes its parameters.
    rate: of the codec, Hz.
    features: of the semantic tokens, MFCC if None.
    fields: of the config.
  """
  config = {"data": {"sample_rate": rate}, **CONFIGS[kind], **fields}
  config["codec"] = dict(_CODEC, sample_rate=rate)
  sampler = config.pop("sampler")
  config["generate"] = dict(sampler=sampler, batch_size=1, prompt_seconds=0.6)
  files.write_json(folder / "config.json", {"config": config})
  codec = make_codec(config)
  codec_file, slm = folder / "codec" / weights.FILE, folder / "slm"
  checksum = weights.save_params(
    codec_file,
    _random(variable_shapes(codec), 0.3),
    {"config": json.dumps(config["codec"])},
  )
  spec = {"token_spec": dataclasses.asdict(codec.spec), "codec_sha256": checksum}
  files.write_json(slm / "spec.json", spec)
  model = _slm(config, codec.spec, slm, features)
  params = edit(_random(param_shapes(model), 0.5))
  weights.save_params(slm / weights.FILE, {"params": params})
  return folder


def _slm(config, spec: TokenSpec, folder, features):
  if "text" in config:
    vocabulary = make_vocabulary(config)
    vocabulary.save(folder / "vocabulary.json")
    return make_slm(config, spec, vocabulary)
  features = features or Mfcc(spec.sample_rate, spec.hop)
  centroids = np.random.default_rng(1).normal(size=(5, 26))
  tokenizer = SemanticTokenizer(features, centroids.astype(np.float32))
  tokenizer.save(folder / "semantic.safetensors")
  return make_slm(config, spec)


def _random(shapes, scale):
  rng = np.random.default_rng(0)
  draw = lambda x: (scale * rng.normal(size=x.shape)).astype(x.dtype)  # noqa: E731
  return jax.tree.map(draw, shapes)


def noise(seconds, seed=0, rate=RATE):
  """Returns noise (N,) float32."""
  rng = np.random.default_rng(seed)
  return (0.1 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def write_noise(path, seconds, seed=0, rate=RATE, channels=1):
  path.parent.mkdir(parents=True, exist_ok=True)
  audio_N = noise(seconds, seed, rate)
  soundfile.write(path, np.stack([audio_N] * channels, 1), rate)
  return str(path)
