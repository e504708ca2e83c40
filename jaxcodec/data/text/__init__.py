"""Text for speech language models: normalised, spelled in symbols, numbered."""

from jaxcodec.data.text.front_ends import FrontEnd, front_end
from jaxcodec.data.text.vocabulary import Vocabulary, wrapped

__all__ = ["FrontEnd", "Vocabulary", "front_end", "wrapped"]
