"""A config whose parts come from outside the package."""

from jaxcodec import recipes


def get_config(arg=""):
  config = recipes.experiment(arg, codec_name="dac", slm="maskgit")
  config.imports = (
    "outside_quantizer",
    "outside_decoder",
    "outside_language_model",
    "outside_metric",
    "outside_source",
    "outside_front_end",
  )
  config.codec.quantizer = dict(name="sign", num_codebooks=8, bits=10)
  config.codec.decoder = dict(name="linear", hop=320)
  config.slm = dict(name="frame_table")
  config.generate.sampler = dict(temperature=0.5)
  config.data.source, config.data.options = "noise", dict(count=12)
  config.text = dict(front_end="initials", max_symbols=20)
  config.evaluate.reconstruction = ("si_sdr", "peak", "codebook_usage")
  config.evaluate.generation = ("mel_distance",)
  return config
