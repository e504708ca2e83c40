"""An experiment from its config to its report, in resumable stages."""

from jaxcodec.pipeline.run import BAD_INPUT, STAGES, run

__all__ = ["BAD_INPUT", "STAGES", "run"]
