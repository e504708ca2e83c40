"""The stages of an experiment: what each does, needs and depends on."""

import pathlib
import shutil
from collections.abc import Callable
from typing import NamedTuple

from jaxcodec.pipeline import evaluate, generate, speak, tokens, train
from jaxcodec.pipeline.experiment import Experiment
from jaxcodec.pipeline.shared_codec import GENERATED


class StageKind(NamedTuple):
  """A stage of an experiment.

  Attributes:
    run: writes into a folder and returns the names of its files there.
    needs: stages that must be complete.
    config: sections of the config that its content depends on.
    shared: whether all processes run it; if not, the first one does.
  """

  run: Callable[[Experiment, pathlib.Path], list[str]]
  needs: tuple[str, ...] = ()
  config: tuple[str, ...] = ()
  shared: bool = True


def _generate(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  if GENERATED in experiment.done:
    return speak.speak_all(experiment, folder)
  return generate.generate_all(experiment, folder)


def _report(experiment: Experiment, folder: pathlib.Path) -> list[str]:
  from jaxcodec.report.experiment import write_report  # no start waits for matplotlib

  write_report(experiment.workdir)
  for name in PUBLISHED["report"]:
    shutil.copyfile(experiment.workdir / name, folder / name)
  return list(PUBLISHED["report"])


# Outputs that stand at the top of the work directory too.
PUBLISHED = {
  "evaluate": (evaluate.RESULTS,),
  "report": ("report.html", "report.md"),
}


STAGES = {
  "codec": StageKind(train.train_codec, config=("codec", "codec_train")),
  "tokens": StageKind(
    tokens.write_all, needs=("codec",), config=("codec", "semantic", "text")
  ),
  "slm": StageKind(train.train_slm, needs=("tokens",), config=("slm", "slm_train")),
  "generate": StageKind(
    _generate,
    needs=("codec", "tokens", "slm"),
    config=("generate",),
    shared=False,
  ),
  "evaluate": StageKind(
    evaluate.evaluate_all,
    needs=("codec", "tokens", "slm", "generate"),
    config=("evaluate",),
    shared=False,
  ),
  "report": StageKind(
    _report, needs=("evaluate", "generate", "codec", "slm"), shared=False
  ),
}
