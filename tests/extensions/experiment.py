"""A config whose parts come from outside the package."""

from jaxcodec import recipes


def get_config(arg=""):
  config = recipes.experiment(arg, codec_name="dac", slm="maskgit")
  config.imports = ("outside_quantizer", "outside_decoder", "outside_language_model")
  config.codec.quantizer = dict(name="sign", num_codebooks=8, bits=10)
  config.codec.decoder = dict(name="linear", hop=320)
  config.slm = dict(name="frame_table")
  config.generate.sampler = dict(temperature=0.5)
  return config
