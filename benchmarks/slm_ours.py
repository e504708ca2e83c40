"""Our side of the speech language models' benchmark."""

import jax
import jax.numpy as jnp
import numpy as np
from slm import NO_CACHE_AT, SIZES, SPEC, SYMBOLS, TEXT

from jaxcodec.slm import nar
from jaxcodec.slm.ar_choice import ArSampler
from jaxcodec.slm.decode import IterativeSampler
from jaxcodec.slm.maskgit import MaskGit
from jaxcodec.slm.positions import own_pace
from jaxcodec.slm.valle import Valle
from jaxcodec.types import TokenSpec

_SEMANTIC = 500  # tokens


class SlmOurs:
  """Both models with random weights; VALL-E's are left in the folder."""

  def __init__(self, _, folder, __):
    spec = TokenSpec(**SPEC)
    self._folder = folder
    self._valle = Valle(spec, SYMBOLS, dropout=0.0, **SIZES)
    self._maskgit = MaskGit(spec, _SEMANTIC, dropout=0.0, **SIZES)
    draw = lambda m: jax.jit(m.init_params)(jax.random.key(0), self._batch(1, 4))  # noqa: E731
    self._valle_params, self._maskgit_params = draw(self._valle), draw(self._maskgit)
    leaves = jax.tree_util.tree_leaves_with_path(self._valle_params)
    names = {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in leaves}
    np.savez(folder / "weights.npz", **names)
    self._score = jax.jit(self._scores)
    self._filled = jax.jit(nar.fill_levels, static_argnums=0)
    self.functions = {
      "valle": self._speak,
      "no cache": self._frames_without_cache,
      "nar": self._fill,
      "maskgit": self._unmask,
    }

  def run(self, what, inputs):
    return jax.block_until_ready(self.functions[what](*inputs))

  def inputs(self, what, items, seconds):
    frames = seconds * SPEC["sample_rate"] // SPEC["hop"]
    batch = self._batch(items, frames)
    if what != "no cache":
      return (batch,)
    return ([self._batch(items, int(frames * part)) for part in NO_CACHE_AT],)

  def _batch(self, items, frames):
    rng = np.random.default_rng(0)
    draw = lambda top, *shape: jnp.asarray(rng.integers(0, top, (items, *shape)), "i4")  # noqa: E731
    return {
      "text_BxS": draw(SYMBOLS, TEXT),
      "text_mask_BxS": jnp.ones((items, TEXT), bool),
      "semantic_BxT": draw(_SEMANTIC, frames),
      "codes_BxTxK": draw(SPEC["codebook_size"], frames, SPEC["num_codebooks"]),
      "mask_BxT": jnp.ones((items, frames), bool),
    }

  def _speak(self, batch):
    frames = batch["mask_BxT"].shape[1]
    got = self._valle.generate(
      self._valle_params,
      jax.random.key(0),
      batch["text_BxS"],
      batch["text_mask_BxS"],
      sampler=ArSampler(frames, min_frames=frames, temperature=0.0),
    )
    self._spoken = got.tokens.codes_BxTxK
    return self._spoken

  def _scores(self, params, batch):
    inputs = "text_BxS", "text_mask_BxS", "codes_BxTxK", "mask_BxT"
    text, text_mask, codes_BxTxK, mask = (batch[name] for name in inputs)
    code_BxT = codes_BxTxK[:, :, 0]
    inputs = text, text_mask, code_BxT, mask, own_pace(text_mask, mask)
    logits = self._valle.ar.apply({"params": params}, *inputs)
    return logits[:, -1].argmax(-1)

  def _fill(self, batch):
    text = batch["text_BxS"], batch["text_mask_BxS"]
    codes_BxTxK, mask_BxT = batch["codes_BxTxK"], batch["mask_BxT"]
    return self._filled(
      self._valle.nar,
      nar.Draw(0.0, 0, 1.0),
      self._valle_params["nar"],
      jax.random.split(jax.random.key(0), len(mask_BxT)),
      text,
      (codes_BxTxK[:, :0], mask_BxT[:, :0]),
      (codes_BxTxK, mask_BxT),
      own_pace(text[1], mask_BxT),
    )

  def _frames_without_cache(self, batches):
    """One frame at each of a few lengths, all frames so far computed anew."""
    return [self._score(self._valle_params["ar"], batch) for batch in batches]

  def _unmask(self, batch):
    tokens = self._maskgit.generate(
      self._maskgit_params,
      jax.random.key(0),
      batch["semantic_BxT"],
      batch["mask_BxT"],
      sampler=IterativeSampler(steps=(16,)),
    )
    return tokens.codes_BxTxK

  def agreement(self):
    """Leaves the last codes for the other side."""
    np.save(self._folder / "codes.npy", self._spoken)
    return ""
