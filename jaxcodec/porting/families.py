"""Which published model a codec's config is, and what that model is called there."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxcodec.porting import dac as dac_tables
from jaxcodec.porting import huggingface
from jaxcodec.porting.table import Rule


class Family(NamedTuple):
  """How one codec's weights are kept elsewhere.

  Attributes:
    package: whose model it is.
    rules: the table of its weights.
    renames: Hugging Face's names; none where transformers lacks the model.
    config: Hugging Face's `config.json`.
    folded: whether Hugging Face's model has its weight norms multiplied out.
    kwargs: what its own file says of how it is built, if anything.
  """

  package: str
  rules: tuple[Rule, ...]
  renames: huggingface.Renames = ()
  config: Mapping[str, Any] = {}
  folded: bool = False
  kwargs: Mapping[str, Any] = {}

  def wrapped(self, state: dict[str, Any]) -> dict[str, Any]:
    """What the original's own `save` writes."""
    if not self.kwargs:
      return state
    return {"state_dict": state, "metadata": {"kwargs": dict(self.kwargs)}}


def family(codec: Mapping[str, Any]) -> Family:
  """The family of an expanded codec config.

  Raises:
    ValueError: no published model has these parts.
  """
  parts = tuple(codec[part]["name"] for part in ("encoder", "quantizer", "decoder"))
  if parts not in _FAMILIES:
    raise ValueError(
      f"no published codec has an encoder, quantizer and decoder of {parts}; there are"
      f" {sorted(_FAMILIES)}"
    )
  return _FAMILIES[parts](codec)


def _dac(codec):
  encoder, quantizer, decoder = (
    codec[part] for part in ("encoder", "quantizer", "decoder")
  )
  strides = list(encoder["strides"])
  kwargs = dict(
    encoder_dim=encoder["width"],
    encoder_rates=strides,
    latent_dim=encoder.get("latent_dim") or encoder["width"] * 2 ** len(strides),
    decoder_dim=decoder["width"],
    decoder_rates=list(decoder["strides"]),
    n_codebooks=quantizer["num_codebooks"],
    codebook_size=quantizer["codebook_size"],
    codebook_dim=quantizer["codebook_dim"],
    sample_rate=codec["sample_rate"],
  )
  config = dict(
    model_type="dac",
    architectures=["DacModel"],
    encoder_hidden_size=kwargs["encoder_dim"],
    downsampling_ratios=strides,
    upsampling_ratios=kwargs["decoder_rates"],
    hidden_size=kwargs["latent_dim"],
    decoder_hidden_size=kwargs["decoder_dim"],
    n_codebooks=kwargs["n_codebooks"],
    codebook_size=kwargs["codebook_size"],
    codebook_dim=kwargs["codebook_dim"],
    hop_length=math.prod(strides),
    sampling_rate=kwargs["sample_rate"],
  )
  return Family(
    "descript-audio-codec",
    dac_tables.CODEC,
    renames=huggingface.dac(len(strides)),
    config=config,
    folded=True,
    kwargs=kwargs,
  )


_FAMILIES = {("dac", "factorized_rvq", "dac"): _dac}
