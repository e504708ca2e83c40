"""Neural audio codecs and the speech language models on their tokens, in JAX."""

__version__ = "0.1.0"
