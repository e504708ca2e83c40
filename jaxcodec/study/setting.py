"""The data, steps and batches of a study."""

from collections.abc import Mapping
from typing import Any


def of_config(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what all cells share of their config and readers ask for first."""
  codec, slm, data = config["codec_train"], config["slm_train"], config["data"]
  return {
    "data": data["source"],
    "codec_steps": codec["steps"],
    "adversarial_start": codec.get("adversarial_start"),  # None without discriminators
    "codec_batch": codec["batch_size"],
    "crop_seconds": codec["crop_seconds"],
    "slm_steps": slm["steps"],
    "reconstructed": config["evaluate"]["num_utterances"],
    "generated": config["generate"]["num_utterances"],
  }
