"""DAC at 16 kHz with an AR + NAR SLM (VALL-E) on its tokens.

    python launch/main.py --config=configs/dac_valle.py:runlocal

is minutes on a laptop's CPU, with small models, on the embedded corpus; without
`:runlocal` it is the full size and wants data with texts. The SLM speaks the held-out
sentences in the voice of a prompt. `configs/dac_maskgit.py` says what else can be asked
of a config, `jaxcodec/recipes` has the values.
"""

from jaxcodec import recipes


def get_config(arg=""):
  return recipes.experiment(arg, codec_name="dac", slm="valle")
