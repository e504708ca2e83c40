"""Codecs and speech language models for use, on arrays and on folders of files."""

from jaxcodec.api.code_scores import load_code_scores
from jaxcodec.api.codec_model import CodecModel
from jaxcodec.api.loading import load
from jaxcodec.api.slm_loading import load_slm
from jaxcodec.api.speech_model import Speech
from jaxcodec.api.text_to_speech import TextToSpeech
from jaxcodec.api.vocoder_model import VocoderModel
from jaxcodec.api.voice_conversion import VoiceConverter

__all__ = [
  "CodecModel",
  "Speech",
  "TextToSpeech",
  "VocoderModel",
  "VoiceConverter",
  "load",
  "load_code_scores",
  "load_slm",
]
