"""The data, steps and batches of a study."""

from collections.abc import Mapping
from typing import Any


def of_codec(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns how a codec or a decoder is trained, of its config."""
  codec = config["codec_train"]
  return {
    "codec_steps": codec["steps"],
    "adversarial_start": codec.get("adversarial_start"),  # None without discriminators
    "codec_batch": codec["batch_size"],
    "crop_seconds": codec["crop_seconds"],
  }


def of_config(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what all cells share of their config and readers ask for first."""
  return {
    "data": config["data"]["source"],
    **of_codec(config),
    "slm_steps": config["slm_train"]["steps"],
    "reconstructed": config["evaluate"]["num_utterances"],
    "generated": config["generate"]["num_utterances"],
  }
