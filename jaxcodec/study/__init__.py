"""The study: its grid of experiments, and what can be said of their results.

Arrays have suffixes of their own here: U utterances, M systems, R resamples.
"""
