"""The study: its grid of experiments, and the conclusions from their results.

Arrays have suffixes of their own here: U utterances, M systems, R resamples.
"""

from jaxcodec.study.saved import SavedStudy as SavedStudy
from jaxcodec.study.saved import load as load
