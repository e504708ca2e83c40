"""A source that decodes every recording once when it is opened."""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from jaxcodec.data.audio import files
from jaxcodec.data.source import DataError, Utterance
from jaxcodec.data.sources.audio_file import AudioFile
from jaxcodec.data.sources.known_files import MANY, KnownFiles, Sound, stamp_of

DEFAULT_CACHE_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class Recording:
  """A decoded recording.

  Attributes:
    id: unique in its source.
    speaker: who speaks.
    text: what is said; None where unknown.
    audio_N: mono float32.
    sample_rate: Hz, of the file.
    digest: gives the hex digest of the file's content.
  """

  id: str
  speaker: str
  text: str | None
  audio_N: np.ndarray
  sample_rate: int
  digest: Callable[[], str]


def resample(audio_N: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
  """Returns mono float32 (N,) at `rate` Hz, clipped to [-1, 1]."""
  audio_N = files.resample(audio_N, source_rate, rate)
  return np.clip(audio_N, -1, 1).astype(np.float32, copy=False)


class AudioCache:
  """Keeps the arrays that were used last, up to a number of bytes. Thread-safe."""

  def __init__(self, max_bytes: int):
    self._max_bytes, self._bytes = max_bytes, 0
    self._arrays = collections.OrderedDict()
    self._lock = threading.Lock()

  def __reduce__(self):
    """Pickles it without its arrays: another process begins with none."""
    return AudioCache, (self._max_bytes,)

  def get(self, key) -> np.ndarray | None:
    """Returns the array of `key`, None where it isn't kept."""
    with self._lock:
      if key in self._arrays:
        self._arrays.move_to_end(key)
      return self._arrays.get(key)

  def put(self, key, array: np.ndarray) -> None:
    """Keeps an array and drops those that were not used for longest."""
    with self._lock:
      if key in self._arrays or array.nbytes > self._max_bytes:
        return
      self._arrays[key] = array
      self._bytes += array.nbytes
      while self._bytes > self._max_bytes:
        self._bytes -= self._arrays.popitem(last=False)[1].nbytes


class CheckedSource:
  """A `Source` of recordings that `load` decodes.

  Opening it decodes everything once, in threads. That finds bad recordings, gives the
  lengths and the fingerprint, and fills the cache at `sample_rate`. Of many files,
  those that haven't changed since an earlier start read them aren't read again.

  Args:
    name: of the source, for errors.
    items: what `load` takes, in the order of the utterances; errors show `str(item)`.
    load: raises `DataError` naming the item if it is bad. Thread-safe.
    sample_rate: Hz at which the cache is filled.
    on_error: `raise` or `skip`.
    problems: what was found while the items were listed, as in `Source.skipped`.
    cache_bytes: memory for decoded and resampled audio.

  Attributes:
    on_error: as given: what becomes of a recording that can't be read again later.
  """

  def __init__(
    self,
    name: str,
    items: Sequence[Any],
    load: Callable[[Any], Recording],
    *,
    sample_rate: int,
    on_error: str,
    problems: Iterable[dict[str, str]] = (),
    cache_bytes: int = DEFAULT_CACHE_BYTES,
  ):
    self._load, self.on_error = load, on_error
    self._cache = AudioCache(cache_bytes)
    self.skipped = list(problems)
    if on_error == "raise":
      raise_first(self.skipped)
    self._items, self._rate = list(items), sample_rate
    kept = self._keep_good(self._check_all(name))
    if on_error == "raise":
      raise_first(self.skipped)
    if not kept:
      raise DataError(f"{name}: no usable recording{_reasons(self.skipped)}")
    self._positions = [position for position, _, _ in kept]
    self.utterances = tuple(utterance for _, utterance, _ in kept)
    self.fingerprint = _fingerprint(self.utterances, [digest for *_, digest in kept])

  def audio(self, index: int, sample_rate: int) -> np.ndarray:
    """Returns mono float32 samples (N,) in [-1, 1] at `sample_rate` Hz, read-only.

    Raises:
      DataError: the recording was removed or damaged since it was checked.
    """
    position = self._positions[index]
    audio_N = self._cache.get((position, sample_rate))
    if audio_N is None:
      recording = self._load(self._items[position])
      audio_N = self._remember(position, recording, sample_rate)
    return audio_N

  def _remember(self, position, recording, sample_rate):
    audio_N = resample(recording.audio_N, recording.sample_rate, sample_rate)
    audio_N.flags.writeable = False
    self._cache.put((position, sample_rate), audio_N)
    return audio_N

  def _check_all(self, name):
    positions = range(len(self._items))
    if len(positions) < MANY or not isinstance(self._items[0], AudioFile):
      return in_threads(self._check, positions)
    known = KnownFiles.of(name)
    try:
      return in_threads(functools.partial(self._check_unless_known, known), positions)
    finally:
      known.save()

  def _check_unless_known(self, known, position):
    item = self._items[position]
    stamp = stamp_of(item.path)
    if stamp and (sound := known.find(item.path, stamp)):
      return _utterance(item, item, sound), sound.digest
    return self._check(position, lambda sound: known.add(item.path, stamp, sound))

  def _check(self, position, note=lambda sound: None):
    """Returns the utterance and its digest, or the error; caches the audio."""
    try:
      recording = self._load(self._items[position])
      digest = recording.digest()
    except DataError as error:
      return error
    self._remember(position, recording, self._rate)
    sound = Sound(len(recording.audio_N), recording.sample_rate, digest)
    note(sound)
    return _utterance(recording, self._items[position], sound), digest

  def _keep_good(self, results):
    kept, seen = [], {}
    for position, result in enumerate(results):
      name = str(self._items[position])
      if isinstance(result, DataError):
        self.skipped.append({"item": name, "reason": str(result)})
      elif (key := result[0].id) in seen:
        reason = f"{name}: has the same id {key!r} as {seen[key]}"
        self.skipped.append({"item": name, "reason": reason})
      else:
        seen[key] = name
        kept.append((position, *result))
    return kept


def _utterance(labels, item, sound):
  seconds = sound.num_samples / sound.sample_rate
  of_item = {n: getattr(item, n) for n in ("folder", "was_heard") if hasattr(item, n)}
  return Utterance(labels.id, labels.speaker, labels.text, seconds, **of_item)


def in_threads(function: Callable, items: Sequence) -> list:
  """Returns `[function(item) for item in items]`, on all cores; stops at an error."""
  with concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
    try:
      return list(pool.map(function, items))
    except BaseException:
      pool.shutdown(cancel_futures=True)
      raise


def raise_first(problems: Sequence[dict[str, str]]) -> None:
  """Raises `DataError` with the first problem and the number of others, if any."""
  if problems:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    advice = "; data.on_error='skip' leaves such recordings out"
    raise DataError(problems[0]["reason"] + more + advice)


def _reasons(skipped):
  return "; ".join(["", *(problem["reason"] for problem in skipped[:3])])


def _fingerprint(utterances, digests):
  total = hashlib.sha256()
  for utterance, digest in zip(utterances, digests, strict=True):
    fields = (utterance.id, utterance.speaker, utterance.text, digest)
    total.update(repr(fields).encode())
  return total.hexdigest()[:32]
