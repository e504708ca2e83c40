"""Both speech language models learn a few utterances by heart and speak them again.

    python benchmarks/overfit.py --data=DIR --weights=CODEC

DIR is a folder of speech with its texts, CODEC an experiment's folder or a codec's
`params.safetensors`. The shortest utterances of DIR are taken, whole. Both models are
trained as an experiment trains them, without dropout and all utterances in every batch;
both then generate greedily and without a prompt, VALL-E from the phonemes alone, the
masked-parallel model from the semantic tokens. A frame that is missing has no code
right.
"""

import argparse
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxcodec
from jaxcodec.data.source import open_source
from jaxcodec.data.text import Vocabulary, front_end
from jaxcodec.semantic import tokenizer as semantic
from jaxcodec.semantic.mfcc import Mfcc
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.decode import IterativeSampler
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.valle import Valle
from jaxcodec.tasks.slm import SlmTask

SEMANTIC = 128  # tokens
SIZES = dict(depth=4, width=256, heads=4, dropout=0.0)
CHUNK = 25  # steps between two lines
VALLE_STEPS, MASKGIT_STEPS = 250, 800
HEAD = (
  "model",
  "parameters",
  "steps",
  "minutes",
  "codes right, %",
  "of each codebook",
  "of each utterance",
)


def read(options):
  """Reads the utterances: one batch, the codec's spec, and the number of symbols."""
  codec = jaxcodec.load(weights=options.weights)
  source = open_source("folder", options.data, sample_rate=codec.sample_rate)
  utterances = source.utterances
  order = sorted(range(len(utterances)), key=lambda i: utterances[i].seconds)
  chosen = order[: options.utterances]
  vocabulary = Vocabulary.of(front_end("auto"))
  clips = [source.audio(i, codec.sample_rate) for i in chosen]
  texts = [vocabulary.encode(utterances[i].text) for i in chosen]
  audio_BxN, length_B = pad(clips, np.float32)
  text_BxS, symbols_B = pad(texts, np.int32)
  tokens = codec.encode(audio_BxN, lengths=length_B)
  mask_BxT = np.asarray(tokens.mask_BxT)
  batch = {
    "codes_BxTxK": np.where(mask_BxT[..., None], tokens.codes_BxTxK, 0),
    "mask_BxT": mask_BxT,
    "semantic_BxT": semantic_tokens(codec.spec, audio_BxN, length_B),
    "text_BxS": text_BxS,
    "text_mask_BxS": np.arange(text_BxS.shape[1])[None] < symbols_B[:, None],
  }
  seconds = length_B / codec.sample_rate
  print(
    f"{len(chosen)} whole utterances of {seconds.min():.2f} to {seconds.max():.2f} s,"
    f" {mask_BxT.sum()} frames, {codec.spec.num_codebooks} codebooks of"
    f" {codec.spec.codebook_size}, {symbols_B.sum()} symbols of {vocabulary.front_end}"
  )
  return jax.tree.map(jnp.asarray, batch), codec.spec, len(vocabulary)


def pad(rows, dtype):
  """Stacks rows into one array with zeros at the ends; also returns their lengths."""
  length_B = np.array([len(row) for row in rows])
  array = np.zeros((len(rows), length_B.max()), dtype)
  for one, row in zip(array, rows, strict=True):
    one[: len(row)] = row
  return array, length_B


def semantic_tokens(spec, audio_BxN, length_B):
  """Makes semantic tokens: clusters of the utterances' own MFCCs, (B, T)."""
  features = Mfcc(spec.sample_rate, spec.hop)
  cepstra = np.asarray(semantic.compute(features, audio_BxN, length_B))
  frames_B = -(-length_B // spec.hop)
  valid = [x[:frames] for x, frames in zip(cepstra, frames_B, strict=True)]
  tokenizer = semantic.fit(jax.random.key(0), features, valid, num_tokens=SEMANTIC)
  return tokenizer.encode(audio_BxN, length_B)


def train(name, model, batch, steps):
  """Trains for so many steps; returns the parameters and the minutes that it took."""
  task = SlmTask(
    model, steps=steps, learning_rate=1e-3, warmup_steps=CHUNK, ema_decay=0
  )

  @jax.jit
  def chunk(state):
    step = lambda state, _: task.train_step(state, batch)  # noqa: E731
    return jax.lax.scan(step, state, None, CHUNK)

  start = time.perf_counter()
  state = jax.jit(task.init)(jax.random.key(0), batch)
  for done in range(0, steps, CHUNK):
    state, metrics = chunk(state)
    said = {k: round(float(v.mean()), 4) for k, v in metrics.items()}
    print(name, done + CHUNK, said, file=sys.stderr, flush=True)
  return task.inference_variables(state)["params"], (time.perf_counter() - start) / 60


def report(name, params, steps, minutes, batch, codes_BxTxK):
  """Prints a row of the table; codes past the targets' frames are not looked at."""
  mask_BxT = np.asarray(batch["mask_BxT"])
  missing = max(0, mask_BxT.shape[1] - codes_BxTxK.shape[1])
  codes_BxTxK = jnp.pad(
    codes_BxTxK, ((0, 0), (0, missing), (0, 0)), constant_values=-1
  )[:, : mask_BxT.shape[1]]
  right_BxTxK = np.asarray(codes_BxTxK == batch["codes_BxTxK"])
  size = sum(x.size for x in jax.tree.leaves(params))
  pairs = zip(right_BxTxK, mask_BxT, strict=True)
  each = [right_TxK[valid_T].mean() for right_TxK, valid_T in pairs]
  right_NxK = right_BxTxK[mask_BxT]
  shares = [right_NxK.mean()], right_NxK.mean(0), each
  row = name, f"{size / 1e6:.1f} M", str(steps), f"{minutes:.1f}"
  row += tuple(" ".join(f"{100 * x:.4g}" for x in share) for share in shares)
  print("| " + " | ".join(row) + " |", flush=True)


def valle(batch, spec, symbols):
  """AR + NAR: texts to codes and lengths."""
  model = Valle(spec, symbols, prompt_rate=0.0, **SIZES)
  params, minutes = train("valle", model, batch, VALLE_STEPS)
  want_B = batch["mask_BxT"].sum(1)
  got = model.generate(
    params,
    jax.random.key(1),
    batch["text_BxS"],
    batch["text_mask_BxS"],
    sampler=ArSampler(max_frames=2 * int(want_B.max()), temperature=0.0),
  )
  mask_BxT = np.arange(got.tokens.codes_BxTxK.shape[1])[None] < got.length_B[:, None]
  codes_BxTxK = jnp.where(mask_BxT[:, :, None], got.tokens.codes_BxTxK, -1)
  report("AR + NAR", params, VALLE_STEPS, minutes, batch, codes_BxTxK)
  print(f"AR + NAR: frames {got.length_B.tolist()}, of which exact", end=" ")
  print(f"{(got.length_B == want_B).sum()} of {len(want_B)}", flush=True)


def maskgit(batch, spec):
  """Masked parallel: semantic tokens, and so lengths, to codes."""
  model = MaskGit(
    spec,
    SEMANTIC,
    level_weights="uniform",
    prompt_rate=0.0,
    condition_drop=0.0,
    **SIZES,
  )
  params, minutes = train("maskgit", model, batch, MASKGIT_STEPS)
  tokens = model.generate(
    params,
    jax.random.key(1),
    batch["semantic_BxT"],
    batch["mask_BxT"],
    sampler=IterativeSampler(steps=(16,), temperature=0.0, choice_noise=0.0),
  )
  name = "masked parallel, 16 steps"
  report(name, params, MASKGIT_STEPS, minutes, batch, tokens.codes_BxTxK)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--data", required=True, help="folder of speech with its texts")
  parser.add_argument("--weights", required=True, help="of the codec")
  parser.add_argument("--utterances", type=int, default=8)
  options = parser.parse_args()
  batch, spec, symbols = read(options)
  print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD), flush=True)
  valle(batch, spec, symbols)
  maskgit(batch, spec)


if __name__ == "__main__":
  main()
