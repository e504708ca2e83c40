"""The codec of magnitudes with one autoregressive SLM over all codebooks.

    python launch/main.py --config=configs/magnitude_delay.py:runlocal

The codebooks follow each other by a frame each (MusicGen's delay pattern), so that one
transformer speaks texts, where VALL-E needs two. `configs/dac_maskgit.py` says what
else can be put behind the colon.
"""

from jaxcodec import recipes


def get_config(arg=""):
  return recipes.experiment(arg, codec_name="magnitude_16khz", slm="delay")
