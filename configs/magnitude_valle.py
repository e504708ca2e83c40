"""The codec of magnitudes at 16 kHz with an AR + NAR SLM (VALL-E) on its tokens.

    python launch/main.py --config=configs/magnitude_valle.py:runlocal

is minutes on a laptop's CPU, with small models, on the embedded corpus. The codec is
`speech_16khz`, if those weights come with the package, and is not trained then;
`:runlocal,scratch` trains it, from a start that is fitted to the recordings. Without a
size it is the full one and wants data with texts. `configs/dac_maskgit.py` says what
else can be asked of a config, `jaxcodec/recipes` has the values.
"""

from jaxcodec import recipes


def get_config(arg=""):
  return recipes.experiment(arg, codec_name="magnitude_16khz", slm="valle")
