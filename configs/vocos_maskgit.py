"""EnCodec's encoder and quantiser with Vocos' decoder, and a masked-parallel SLM.

    python launch/main.py --config=configs/vocos_maskgit.py:runlocal

is minutes on a laptop's CPU, with small models, on the embedded corpus; without
`:runlocal` it is the full size and wants data. `configs/dac_maskgit.py` says what else
can be asked of a config, `jaxcodec/recipes` has the values.
"""

from jaxcodec import recipes


def get_config(arg=""):
  return recipes.experiment(arg, codec_name="encodecq_vocos", slm="maskgit")
