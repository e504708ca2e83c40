"""Codecs for use: a preset with its weights, on arrays and on folders of files."""

from jaxcodec.api.loading import load
from jaxcodec.api.model import CodecModel
from jaxcodec.api.vocoder import VocoderModel

__all__ = ["CodecModel", "VocoderModel", "load"]
