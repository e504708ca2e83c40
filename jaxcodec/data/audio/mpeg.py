"""MPEG audio (MP3, ISO 11172-3): frames one after another, and no header for them all.

The first frame may be a silent one that tells how many follow, by Xing's or LAME's
convention. Where it's missing, a file's length is known only once it's decoded.
"""

from jaxcodec.data.audio.extents import Damaged

# kbit/s by the four bits in a frame's header, of MPEG 1's layers and of MPEG 2's.
_KBPS = {
  (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
  (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
  (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
  (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
  (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)
_DECODER_DELAY = 529  # samples
_SAME = 0xFFFE0C00  # bits of a frame's header that stay: version, layer, rate


def is_frame(head: bytes) -> bool:
  """Tells whether four bytes are the header of a frame."""
  return _frame_bytes(head, 0) is not None


def skip_tag(data: bytes, at: int = 0) -> int:
  """Returns where an ID3v2 tag at `at` ends, `at` if there's none."""
  while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
    a, b, c, d = data[at + 6 : at + 10]
    footer = 10 if data[at + 5] & 0x10 else 0
    at += 10 + footer + (a << 21 | b << 14 | c << 7 | d)
  return at


def links(data: bytes) -> list[bytes]:
  """Returns the files that `cat` joined, each with a first frame that counts others.

  A decoder reads no more frames than the first one counts. Where it is missing, one is
  put in front, as the length would be guessed from the first frame's bitrate.

  Raises:
    Damaged: the last frame isn't whole.
  """
  found: list[_Run] = []
  at = skip_tag(data)
  while at < len(data):
    length = _frame_bytes(data, at)
    if length is None or (found and not found[-1].is_like(_head(data, at))):
      if (start := _next_frame(data, skip_tag(data, at))) is None:
        break
      at, length = start, _frame_bytes(data, start)
    head, count = _head(data, at), _count(data, at)
    if count is None and _is_about_others(data, at):
      at += length
      continue
    if not found or count is not None or not found[-1].continues(head):
      found.append(_Run(at, head, count))
    else:
      found[-1].frames += 1
    at += length
    found[-1].end = at
    if at > len(data):
      raise Damaged(f"truncated: its last frame lacks {at - len(data)} bytes")
  return [run.content(data) for run in found]


def counts_frames(link: bytes) -> bool:
  """Tells whether the first frame tells how many follow, so that none may lack."""
  return _count(link, 0) is not None


class _Run:
  """Frames that are decoded together.

  Attributes:
    frames: how many there are, besides one that counts them.
    end: of the last, in bytes.
  """

  def __init__(self, start: int, head: int, count: int | None):
    self._start, self._head, self._count = start, head, count
    self.frames, self.end = int(count is None), start

  def is_like(self, head: int) -> bool:
    """Tells whether a frame of that header is of the same version, layer and rate."""
    return (head ^ self._head) & _SAME == 0

  def continues(self, head: int) -> bool:
    """Tells whether the next frame belongs to the run."""
    return self.is_like(head) and (self._count is None or self.frames < self._count)

  def content(self, data: bytes) -> bytes:
    """Returns the frames; in layer 3 the first of them counts the others."""
    frames = data[self._start : self.end]
    if self._count is not None or _layer(self._head) != 3:
      return frames
    return _counting(self._head, self.frames) + frames


def _counting(head: int, count: int) -> bytes:
  """Returns a frame that counts those after it, and a silent one.

  By LAME's convention the first also tells how many samples to drop from the beginning.
  A decoder always drops its own delay besides: together they are the silent frame, so
  that all samples of the others are kept.
  """
  plain = (head | 0x10000) & ~0xF200  # without checksum, padding and bitrate
  first, silent = (plain | kbps << 12 for kbps in (14, 4))
  delay = (1152 if _is_mpeg_1(head) else 576) - _DECODER_DELAY
  xing = b"Info" + (1).to_bytes(4, "big") + (count + 1).to_bytes(4, "big")
  lame = b"jaxcodec.".ljust(21, b"\0") + (delay << 12).to_bytes(3, "big") + bytes(12)
  return _frame(first, bytes(_side_bytes(first)) + xing + lame) + _frame(silent, b"")


def _frame(head: int, content: bytes) -> bytes:
  start = head.to_bytes(4, "big")
  return (start + content).ljust(_frame_bytes(start, 0), b"\0")


def _next_frame(data: bytes, at: int) -> int | None:
  """Returns where two frames of one kind stand side by side, None if nowhere."""
  while (at := data.find(b"\xff", at)) >= 0:
    length = _frame_bytes(data, at)
    if length is not None and _frame_bytes(data, at + length) is not None:
      if (_head(data, at) ^ _head(data, at + length)) & _SAME == 0:
        return at
    at += 1
  return None


def _count(data: bytes, at: int) -> int | None:
  """Returns how many frames the one at `at` says will follow, by Xing's convention."""
  at += 4 + _side_bytes(_head(data, at))
  name, flags, count = data[at : at + 4], data[at + 4 : at + 8], data[at + 8 : at + 12]
  if name not in (b"Xing", b"Info") or not int.from_bytes(flags, "big") & 1:
    return None
  return int.from_bytes(count, "big")


def _is_about_others(data: bytes, at: int) -> bool:
  """Tells whether the frame at `at` has no sound: Xing's or Fraunhofer's table."""
  xing, fraunhofer = at + 4 + _side_bytes(_head(data, at)), at + 36
  return (
    data[xing : xing + 4] in (b"Xing", b"Info")
    or data[fraunhofer : fraunhofer + 4] == b"VBRI"
  )


def _side_bytes(head: int) -> int:
  """Returns the bytes of side information behind a frame's header, in layer 3."""
  mono = head >> 6 & 3 == 3
  if _is_mpeg_1(head):
    return 17 if mono else 32
  return 9 if mono else 17


def _is_mpeg_1(head: int) -> bool:
  return head >> 19 & 3 == 3


def _layer(head: int) -> int:
  """Returns 1 to 3, or 4, which no frame has."""
  return 4 - (head >> 17 & 3)


def _head(data, at):
  return int.from_bytes(data[at : at + 4], "big")


def _frame_bytes(data: bytes, at: int) -> int | None:
  """Returns the length of the frame at `at`, None if none begins there."""
  head = _head(data, at)
  version, layer = head >> 19 & 3, _layer(head)
  kbps, rate = head >> 12 & 15, head >> 10 & 3
  if head >> 21 != 0x7FF or version == 1 or layer == 4 or rate == 3:
    return None
  if kbps in (0, 15):
    return None
  generation = 1 if version == 3 else 2
  bits = 1000 * _KBPS[generation, min(layer, 3 if generation == 1 else 2)][kbps - 1]
  hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
  padding = head >> 9 & 1
  if layer == 1:
    return (12 * bits // hertz + padding) * 4
  return (72 if layer == 3 and generation == 2 else 144) * bits // hertz + padding
