"""Weights of the published codecs in PyTorch, to ours and back."""

from jaxcodec.porting.file import convert_file
from jaxcodec.porting.weights import convert, export_torch

__all__ = ["convert", "convert_file", "export_torch"]
