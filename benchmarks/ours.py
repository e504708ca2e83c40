"""Our side of the benchmark."""

import jax
import jax.numpy as jnp
import numpy as np
from side import speech_like

from jaxcodec import porting, presets
from jaxcodec.build.codec import make_preset
from jaxcodec.codecs.shapes import fold_for_inference
from jaxcodec.types import Tokens


class Ours:
  """A preset with ported weights, folded and jitted as `jaxcodec.load` does it."""

  def __init__(self, preset, folder, _):
    config = presets.preset(preset)
    if config["decoder"]["name"] == "dac":
      config["decoder"]["exact"] = False  # as many samples as the original
    self._probe = dict(np.load(folder / "probe.npz"))
    self._codec = make_preset(config)
    variables = porting.convert(folder / "weights.pth", make_preset(config))
    self._parameters = sum(x.size for x in jax.tree.leaves(variables["params"]))
    variables["params"] = fold_for_inference(self._codec, variables["params"])
    self._variables = jax.device_put(variables)
    self._of_quantizer = {  # all that a user of it alone would pass
      name: {"quantizer": collection["quantizer"]}
      for name, collection in self._variables.items()
      if "quantizer" in collection
    }
    self.functions = {n: self._jitted(method) for n, method in self._methods().items()}

  @property
  def _books(self):
    """Codebooks in use; 0 for a decoder of features."""
    return int(self._probe.get("books", 0))

  def _methods(self):
    books = self._books
    if not books:
      return {"decode": lambda m, z: m.decoder(z, num_codebooks=8)}
    return {
      "encode": lambda m, x: m.encode(x, num_codebooks=books).codes_BxTxK,
      "decode": lambda m, tokens: m.decode(tokens),
      "rvq encode": lambda m, z: m.quantizer.encode(z, num_codebooks=books),
      "rvq decode": lambda m, codes: m.quantizer.decode(codes),
    }

  def _jitted(self, method):
    return jax.jit(lambda v, *args: self._codec.apply(v, *args, method=method))

  def run(self, what, inputs):
    variables = self._of_quantizer if what.startswith("rvq") else self._variables
    return jax.block_until_ready(self.functions[what](variables, inputs))

  def inputs(self, what, items, seconds):
    rng = np.random.default_rng(0)
    if not self._books:
      T = -(-seconds * 24_000 // self._codec.decoder.hop)
      width = self._probe["features"].shape[1]
      return jnp.asarray(rng.standard_normal((items, T, width), np.float32))
    spec = self._codec.spec
    samples = seconds * spec.sample_rate
    if what == "encode":
      return self._audio(items, -(-samples // spec.hop) * spec.hop)
    T = spec.num_frames(samples)
    if what == "rvq encode":
      shape = (items, T, self._codec.encoder.output_dim)
      return jnp.asarray(rng.standard_normal(shape, np.float32))
    shape = (items, T, self._books)
    codes_BxTxK = jnp.asarray(rng.integers(0, spec.codebook_size, shape, np.int32))
    return codes_BxTxK if what == "rvq decode" else self._tokens(codes_BxTxK)

  def _audio(self, items, samples):
    return jnp.asarray(speech_like(items, samples, self._codec.num_channels))

  def _tokens(self, codes_BxTxK):
    B, T, _ = codes_BxTxK.shape
    gain_BxS = None
    if self._codec.normalize:  # a level of one
      frames = self._codec.segments.length // self._codec.spec.hop
      gain_BxS = jnp.ones((B, -(-T // frames)))
    return Tokens(codes_BxTxK, jnp.ones((B, T), bool), gain_BxS)

  def agreement(self):
    """How many of the probe's codes are the same, and how far the audio is off."""
    said = f"{self._parameters / 1e6:.2f} M parameters"
    if not self._books:
      given = jnp.asarray(self._probe["features"].transpose(0, 2, 1))
    else:
      codes_BxTxK = self._probe["codes"].transpose(0, 2, 1).astype(np.int32)
      audio = self._audio(1, self._probe["samples"].item())
      same = np.mean(np.asarray(self.run("encode", audio)) == codes_BxTxK)
      said += f", {same:.4%} of {codes_BxTxK.size} codes agree"
      given = self._tokens(jnp.asarray(codes_BxTxK))
    expected = self._probe["audio"].ravel()
    audio = np.asarray(self.run("decode", given))
    audio = np.moveaxis(audio, -1, 1) if audio.ndim == 3 else audio
    error = np.abs(audio.ravel() - expected).max() / np.abs(expected).max()
    return f"{said}, audio of the same codes within {error:.1e} of its peak"
