"""VALL-E's generation as a plain PyTorch loop with a KV cache."""

import numpy as np
import torch
import torch.nn.functional as F
from slm import SIZES, SPEC, SYMBOLS, TEXT

_HEADS, _WIDTH = SIZES["heads"], SIZES["width"]
_HEAD_DIM = _WIDTH // _HEADS


class Body:
  """The transformer, its matrices stored as `F.linear` wants them."""

  def __init__(self, weights, half):
    names = "qkv", "attention_out", "mlp_in", "mlp_out"
    stacked = {n: weights[f"{half}/transformer/layers/{n}/kernel"] for n in names}
    inputs = {"qkv": _WIDTH, "attention_out": _WIDTH, "mlp_in": _WIDTH, "mlp_out": -1}
    self.layers = []
    for i in range(SIZES["depth"]):
      layer = {}
      for name in names:
        matrix = stacked[name][i]
        rows = len(matrix) if inputs[name] == -1 else inputs[name]
        layer[name] = torch.tensor(matrix.reshape(rows, -1).T.copy())
      for name in ("attention_norm", "mlp_norm"):
        gain = weights[f"{half}/transformer/layers/{name}/gain"][i]
        layer[name] = torch.tensor(gain)
      self.layers.append(layer)
    self.last_norm = torch.tensor(weights[f"{half}/transformer/last_norm/gain"])

  def __call__(self, x, level=0, start=0, cache=None, mask=None):
    """(B, T, D) to the same; with a cache the frames follow `start` others."""
    rows, frames, _ = x.shape
    turn = _rope(start, frames)
    for i, layer in enumerate(self.layers):
      y = F.rms_norm(x, (_WIDTH,), layer["attention_norm"][level], 1e-6)
      qkv = F.linear(y, layer["qkv"]).view(rows, frames, 3, _HEADS, _HEAD_DIM)
      q, k, v = qkv.permute(2, 0, 3, 1, 4)
      q, k = _turned(q, turn), _turned(k, turn)
      if cache is not None:
        keys, values = cache[i]
        keys[:, :, start : start + frames] = k
        values[:, :, start : start + frames] = v
        k, v = keys[:, :, : start + frames], values[:, :, : start + frames]
      y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
      y = y.transpose(1, 2).reshape(rows, frames, _WIDTH)
      x = x + F.linear(y, layer["attention_out"])
      y = F.rms_norm(x, (_WIDTH,), layer["mlp_norm"][level], 1e-6)
      gate, up = F.linear(y, layer["mlp_in"]).chunk(2, dim=-1)
      x = x + F.linear(F.silu(gate) * up, layer["mlp_out"])
    return F.rms_norm(x, (_WIDTH,), self.last_norm[level], 1e-6)


def _rope(start, frames):
  rate = 10_000.0 ** (-torch.arange(0, _HEAD_DIM, 2) / _HEAD_DIM)
  angle = torch.arange(start, start + frames)[:, None] * rate
  return angle.cos(), angle.sin()


def _turned(x, turn):
  cos, sin = turn
  a, b = x.chunk(2, dim=-1)
  return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


class SlmTorch:
  """With the weights that our side left in the folder."""

  def __init__(self, _, folder, __):
    self._folder = folder
    weights = np.load(folder / "weights.npz")
    self._ar, self._nar = Body(weights, "ar"), Body(weights, "nar")
    tensor = lambda name: torch.tensor(weights[name])  # noqa: E731
    self._text = {h: tensor(f"{h}/text_embed/embedding") for h in ("ar", "nar")}
    self._code = tensor("ar/code_embed/embedding")
    self._codes = tensor("nar/code_embed")
    self._end = SPEC["codebook_size"]
    self._head = tensor("ar/head")[:, : self._end].T.contiguous()  # no ends
    self._heads = tensor("nar/head").mT.contiguous()
    self.functions = {"valle": self._speak}

  def run(self, what, inputs):
    with torch.inference_mode():
      return self.functions[what](*inputs)

  def inputs(self, _, items, seconds):
    text = np.random.default_rng(0).integers(0, SYMBOLS, (items, TEXT))
    return torch.tensor(text), seconds * SPEC["sample_rate"] // SPEC["hop"]

  def _speak(self, text, frames):
    self._spoken = self._fill(text, self._first_codebook(text, frames))
    return self._spoken

  def _first_codebook(self, text, frames):
    rows, known = len(text), TEXT + 1
    shape = rows, _HEADS, known + frames, _HEAD_DIM
    cache = [(torch.zeros(shape), torch.zeros(shape)) for _ in self._ar.layers]
    seen = torch.ones(known, known, dtype=torch.bool)
    seen[:-1, -1] = False  # text does not see what begins the speech
    begin = self._code[-1].expand(rows, 1, -1)
    x = torch.cat([self._text["ar"][text], begin], dim=1)
    y = self._ar(x, cache=cache, mask=seen)
    codes = torch.zeros(rows, frames, dtype=torch.long)
    for t in range(frames):
      codes[:, t] = F.linear(y[:, -1], self._head).argmax(-1)
      if t + 1 < frames:
        y = self._ar(self._code[codes[:, t, None]], start=known + t, cache=cache)
    return codes

  def _fill(self, text, first):
    text = self._text["nar"][text]
    hidden = torch.full((*first.shape, len(self._heads)), self._end)
    codes = torch.cat([first[:, :, None], hidden], dim=2)
    for level, head in enumerate(self._heads):
      books = range(len(self._codes))
      frames = sum(self._codes[k][codes[:, :, k]] for k in books)
      y = self._nar(torch.cat([text, frames], dim=1), level)[:, TEXT:]
      codes[:, :, level + 1] = F.linear(y, head).argmax(-1)
    return codes

  def agreement(self):
    """How many of the last codes are those that our side left."""
    same = np.load(self._folder / "codes.npy") == self._spoken.numpy()
    first, rest = same[:, :, 0].mean(), same[:, :, 1:].mean()
    return f"codebook 0: {first:.2%} of the codes agree, the others: {rest:.2%}"
