"""The stages of an experiment: what each does, needs and depends on."""

import pathlib
import shutil
from collections.abc import Callable
from typing import NamedTuple

from jaxcodec.pipeline import evaluate, generate, tokens, train
from jaxcodec.pipeline.experiment import Experiment


class StageKind(NamedTuple):
  """A stage: what it does, the stages it needs, and the config that it depends on.

  Of several processes, all run it if it is `shared`, otherwise the first.
  """

  run: Callable[[Experiment, pathlib.Path], list[str]]
  needs: tuple[str, ...] = ()
  config: tuple[str, ...] = ()
  shared: bool = True


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
  "codec": StageKind(train.train_codec, (), ("codec", "codec_train")),
  "tokens": StageKind(tokens.write_all, ("codec",), ("codec", "semantic", "text")),
  "slm": StageKind(train.train_slm, ("tokens",), ("slm", "slm_train")),
  "generate": StageKind(
    *(generate.generate_all, ("codec", "tokens", "slm"), ("generate",)),
    shared=False,
  ),
  "evaluate": StageKind(
    *(evaluate.evaluate_all, ("codec", "tokens", "slm", "generate"), ("evaluate",)),
    shared=False,
  ),
  "report": StageKind(_report, ("evaluate", "generate", "codec", "slm"), shared=False),
}
