"""The generate stage of an experiment that speaks the codes of another one."""

import json
import pathlib

import numpy as np
import soundfile

from jaxcodec import files
from jaxcodec.build.fields import ConfigError
from jaxcodec.data.audio.files import write_wav
from jaxcodec.pipeline.experiment import Experiment
from jaxcodec.pipeline.generate import INDEX, LEFT_OUT, codes_file
from jaxcodec.pipeline.shared_codec import GENERATED
from jaxcodec.progress import Progress


def speak_all(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  """Decodes every utterance that the other experiment generated, by this one's codec.

  The index is the other's. What differs between the two experiments' files is then due
  to the decoders alone.

  Raises:
    ConfigError: the other experiment kept no codes, as earlier revisions did not.
  """
  source = experiment.done[GENERATED].folder
  text = (source / INDEX).read_text()
  wavs = [row["wav"] for row in map(json.loads, text.splitlines()) if row["wav"]]
  if missing := [w for w in wavs if not (source / codes_file(w)).is_file()]:
    raise ConfigError(
      f"slm_from: there is no {codes_file(missing[0])} in {source}, as an earlier"
      " revision made it: generate there again"
    )
  with Progress(len(wavs), "speak", unit="clips") as progress:
    for wav in wavs:
      if not (folder / wav).exists():
        _speak(experiment, source, folder, wav)
      progress.update()
  files.write_text(folder / INDEX, text)
  files.write_bytes(folder / LEFT_OUT, (source / LEFT_OUT).read_bytes())
  return [INDEX, LEFT_OUT, *wavs]


def _speak(experiment, source, folder, wav) -> None:
  """Writes the audio of one utterance's codes, as long as the other experiment's."""
  (audio_N,) = experiment.codec.decode([np.load(source / codes_file(wav))])
  samples = soundfile.info(source / wav).frames
  write_wav(folder / wav, audio_N[:samples], experiment.spec.sample_rate)
