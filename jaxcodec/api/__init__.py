"""Codecs for use: a preset with its weights, on arrays and on folders of files."""

from jaxcodec.api.loading import DEMO, DEMO_WEIGHTS, load
from jaxcodec.api.model import CodecModel
from jaxcodec.api.vocoder import VocoderModel

__all__ = ["DEMO", "DEMO_WEIGHTS", "CodecModel", "VocoderModel", "load"]
