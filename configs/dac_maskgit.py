"""DAC at 16 kHz with a masked-parallel SLM on its tokens.

    python launch/main.py --config=configs/dac_maskgit.py

trains the full models (DAC's 16 kHz codec and an SLM of 12 layers of 1024, for a GPU or
a pod) and wants data: add `--config.data.source=folder --config.data.path=DIR`.

    python launch/main.py --config=configs/dac_maskgit.py:runlocal

does the same with much smaller models, on the embedded corpus, in minutes on a laptop's
CPU: too few for clear speech, as this codec whispers then. The README's figures are
those of `configs/magnitude_maskgit.py:runlocal`.

`:laptop` is an evening of two CPU cores, on the same corpus; `:gpu` is hours of one GPU
and wants data.

    python launch/main.py --config=configs/dac_maskgit.py:runlocal,codec=encodecq_vocos

puts another codec of the study (see `jaxcodec.presets`) in DAC's place, all else equal.

    --config.semantic.name=hubert --config.semantic.weights=DIR

clusters HuBERT's features in MFCC's place; DIR is `facebook/hubert-base-ls960`, saved.
`jaxcodec/recipes` has the values.
"""

from jaxcodec import recipes


def get_config(arg=""):
  return recipes.experiment(arg, codec_name="dac", slm="maskgit")
