"""Weights of the published codecs in PyTorch, to ours and back."""

from jaxcodec.porting.weights import convert, export_torch

__all__ = ["convert", "export_torch"]
