"""An experiment from its config to its report, in resumable stages."""

from jaxcodec.pipeline.kept_measures import keep_measures_in
from jaxcodec.pipeline.run import BAD_INPUT, STAGES, evaluate_again, run
from jaxcodec.pipeline.shared_codec import use_codec_of, use_slm_of, use_tokens_of

__all__ = [
  "BAD_INPUT",
  "STAGES",
  "evaluate_again",
  "keep_measures_in",
  "run",
  "use_codec_of",
  "use_slm_of",
  "use_tokens_of",
]
