"""The sizes of the blocks in which a language model's speech comes while it speaks."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class BlockSizes:
  """How many frames come at a time.

  Attributes:
    first: of the first block.
    block: of each after it.
    ahead: frames of codebook 0 that VALL-E's other codebooks see behind a block.
  """

  first: int
  block: int
  ahead: int

  def __post_init__(self):
    for name, least in (("first", 1), ("block", 1), ("ahead", 0)):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name} must be at least {least} frames, got {getattr(self, name)}"
        )
