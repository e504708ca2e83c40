"""The study: its grid of experiments, and what can be said of their results.

Arrays have suffixes of their own here: U utterances, M systems, R resamples.
"""

from jaxcodec.study.saved import SavedStudy as SavedStudy
from jaxcodec.study.saved import load as load
