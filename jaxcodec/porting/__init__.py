"""Converts the published codecs' PyTorch weights to ours and back."""

from jaxcodec.porting.weights import convert, export_torch

__all__ = ["convert", "export_torch"]
