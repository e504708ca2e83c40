"""Makes and reads a small good set of every kind of file that jaxcodec reads."""

import hashlib
import json
import struct

import av
import jax
import jax.numpy as jnp
import numpy as np
import soundfile
from praatio import textgrid

from jaxcodec import token_file, weights
from jaxcodec.coding.growing import Writer
from jaxcodec.coding.scored import Scored
from jaxcodec.data import token_store
from jaxcodec.data.alignments import read_intervals
from jaxcodec.data.prepare import build
from jaxcodec.data.source import open_source
from jaxcodec.porting import token_files
from jaxcodec.train.checkpoint import Checkpointer

RATE = 16_000
PYAV_CODECS = {
  **{"m4a": "aac", "mp4": "aac", "aac": "aac"},
  **{"webm": "libopus", "mka": "flac", "wma": "wmav2"},
}
_FORMATS = {".opus": "OGG", ".oga": "OGG", ".sph": "NIST"}
_SUBTYPES = {".opus": "OPUS"}
# Errors that a user sees as one line, or that training stops with by design.
CLEAR = (ValueError, OSError, RuntimeError)
STEPPED_BACK = "the checkpoint before"
_SPEC = dict(num_codebooks=2, codebook_size=1024, hop=320, sample_rate=RATE)


def _tone(number):
  rng = np.random.default_rng(number)
  time = np.arange(RATE // 2 + 100 * number) / RATE
  return 0.4 * np.sin(2 * np.pi * 200 * time) + 0.05 * rng.standard_normal(len(time))


def audio_maker(suffix):
  """Returns a function that writes three files of noisy tones."""
  write = _write_by_pyav if suffix in PYAV_CODECS else _write_by_libsndfile

  def make(folder):
    for number, name in enumerate("abc"):
      write(folder / f"{name}.{suffix}", _tone(number))

  return make


def _write_by_libsndfile(path, audio_N):
  format = _FORMATS.get(path.suffix, path.suffix[1:])
  soundfile.write(path, audio_N, RATE, _SUBTYPES.get(path.suffix), format=format)


def _write_by_pyav(path, audio_N):
  with av.open(str(path), "w") as container:
    stream = container.add_stream(PYAV_CODECS[path.suffix[1:]], RATE, layout="mono")
    stream.bit_rate = 32_000  # WMA has none of the usual ones at this sample rate
    samples = audio_N[None].astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.pts = RATE, 0
    resampler = av.AudioResampler(stream.codec_context.format, "mono", RATE)
    for one in (*resampler.resample(frame), None):
      for packet in stream.encode(one):
        container.mux(packet)


def write_sample(path, value, position):
  """Writes a float wav file in which one sample has that value."""
  audio_N = _tone(1)
  audio_N[100 + position] = value
  soundfile.write(path, audio_N, RATE, subtype="FLOAT")


def make_csv(folder):
  audio_maker("flac")(folder)
  rows = [
    f"{name}|Number {i} is said.|Number {i} is said." for i, name in enumerate("abc")
  ]
  (folder / "metadata.csv").write_text("\n".join(rows) + "\n")


def make_table(folder):
  """Writes a table as other tools do: columns with names, commas, quotes, speakers."""
  audio_maker("flac")(folder)
  rows = [f'{name}.flac,"Number {i}, is said.",ann' for i, name in enumerate("abc")]
  lines = ["audio_file,text,speaker_name", *rows]
  (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


def make_list(folder):
  audio_maker("flac")(folder)
  (folder / "train.txt").write_text("a.flac\nb.flac\nc.flac\n")


def read_list(folder):
  return read_folder(folder / "train.txt")


def make_texts_beside(folder):
  audio_maker("flac")(folder)
  for number, name in enumerate("abc"):
    (folder / f"{name}.lab").write_text(f"number {number} is said\n")


def make_librispeech(folder):
  chapter = folder / "8" / "1"
  chapter.mkdir(parents=True)
  for number in range(3):
    soundfile.write(chapter / f"8-1-{number}.flac", _tone(number), RATE)
  lines = [f"8-1-{number} SAY {number}\n" for number in range(3)]
  (chapter / "8-1.trans.txt").write_text("".join(lines))


def make_librilight(folder):
  book = folder / "100" / "book"
  book.mkdir(parents=True)
  for number in range(3):
    soundfile.write(book / f"{number}.flac", _tone(number), RATE)
    text = json.dumps({"speaker": "100", "snr": 9.5, "book_meta": {"title": "A Book"}})
    (book / f"{number}.json").write_text(text)


def read_folder(folder, on_error=None):
  """Reads every recording; with `on_error` also returns what was skipped."""
  return _contents(
    *open_and(on_error, "folder", folder), with_skipped=on_error is not None
  )


def open_and(on_error, source, folder, **options):
  """Opens a source; returns it and its sample rate."""
  opened = open_source(
    source, str(folder), sample_rate=RATE, on_error=on_error or "raise", **options
  )
  return opened, RATE


def _contents(source, rate, with_skipped):
  value = {
    u.id: (u.speaker, u.text, _digest(source.audio(i, rate)))
    for i, u in enumerate(source.utterances)
  }
  return (value, [s["reason"] for s in source.skipped]) if with_skipped else value


def _digest(array):
  array = np.ascontiguousarray(array)
  return array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest()


def make_set(folder):
  """Builds a set of two shards beside its input."""
  (folder / "in").mkdir()
  audio_maker("wav")(folder / "in")
  build.build(folder / "in", folder, name="tones", shard_mb=0.02, processes=1)


def make_foreign_set(folder):
  """Removes what only our sets have: TFDS itself keeps no checksums."""
  make_set(folder)
  for path in (folder / "tones" / "1.0.0").glob("*.json*"):
    if path.name not in ("dataset_info.json", "features.json", "metadata.json"):
      path.unlink()


def read_set(folder, on_error=None):
  return _contents(
    *open_and(on_error, "tfds", folder, name="tones"),
    with_skipped=on_error is not None,
  )


def build_again(folder):
  """Builds again, as the records are for, and reads the set."""
  build.build(folder / "in", folder, name="tones", shard_mb=0.02, processes=1)
  return read_set(folder)


class Clueless:
  """A language model to which all codes are alike; see `coding.scored.Scores`."""

  frames, past, scheme, about = 4, 0, "clueless-1", {"name": "clueless"}
  fingerprint, codec_fingerprint = "c" * 16, "f" * 64

  def reveal(self, past_PxK, T):
    cells = [(t, k) for k in range(past_PxK.shape[1]) for t in range(T)]
    yield Scored(cells, np.zeros((len(cells), 1024)))


def make_jxc(folder, entropy=False):
  rng = np.random.default_rng(0)
  token_file.write(
    folder / "a.jxc",
    token_file.TokenFile(
      spec=_SPEC,
      codes=[rng.integers(0, 1024, (9, 2)), rng.integers(0, 1024, (5, 2))],
      gaps=[[], [2]],
      num_samples=[2880, 1600],
      sample_rate=RATE,
      fingerprint="f" * 64,
    ),
    entropy=entropy,
  )


def read_jxc(folder, language_model=None):
  file = token_file.read(folder / "a.jxc", language_model=language_model)
  header = token_file.read_header(folder / "a.jxc")
  return json.dumps(header), [_digest(codes_TxK) for codes_TxK in file.codes]


def make_growing(folder, entropy=False):
  rng = np.random.default_rng(0)
  header = dict(spec=_SPEC, num_codebooks=2, sample_rate=RATE, fingerprint="f" * 64)
  with open(folder / "a.jxc", "wb") as file:
    writer = Writer(file, {**header, "version": "0.1.0"}, entropy=entropy)
    for frames in (9, 5):
      writer.write(rng.integers(0, 1024, (frames, 2)))
    writer.end(4480)


def read_growing(folder):
  """Reads the file; what stops before its end is no whole one."""
  content = read_jxc(folder)
  if not json.loads(content[0])["complete"]:
    raise ValueError(f"{folder / 'a.jxc'}: is not complete")
  return content


def make_textgrid(folder):
  entries = [(0, 0.5, "AH1"), (0.5, 0.75, "S"), (1, 1.5, "T")]
  grid = textgrid.Textgrid()
  grid.addTier(textgrid.IntervalTier("phones", entries))
  grid.save(str(folder / "a.TextGrid"), "long_textgrid", includeBlankSpaces=True)


def read_textgrid(folder):
  return read_intervals(folder / "a.TextGrid")


def make_dac(folder):
  """Writes what DAC's own `DACFile.save` does."""
  codes = np.random.default_rng(0).integers(0, 1024, (1, 4, 50)).astype(np.uint16)
  metadata = {"input_db": np.float32([-20]), "original_length": 16_000}
  metadata |= {"sample_rate": RATE, "channels": 1}
  with open(folder / "a.dac", "wb") as file:
    np.save(file, {"codes": codes, "metadata": metadata})


def make_ecdc(folder):
  about = json.dumps({"m": "encodec_24khz", "al": 16_000, "nc": 4, "lm": False})
  codes = np.random.default_rng(0).bytes(50 * 4 * 10 // 8)
  start = struct.pack("!4sBI", b"ECDC", 0, len(about))
  (folder / "a.ecdc").write_bytes(start + about.encode() + codes)


def published_reader(name):
  """Returns a function that reads a published codec's token file of that name."""

  def read(folder):
    found = token_files.read(folder / name)
    return found.num_samples, found.sample_rate, _digest(found.tokens.codes_BxTxK)

  return read


def make_tokens(folder):
  rng = np.random.default_rng(0)
  records = [
    {
      "id": f"u{number}",
      "speaker": "s",
      "text": "Said.",
      "codes_TxK": rng.integers(0, 1024, (50, 2), np.int32),
      "semantic_T": rng.integers(0, 99, 50, np.int32),
    }
    for number in range(4)
  ]
  token_store.write_tokens(folder / "t.array_record", records)


def read_tokens(folder):
  source = token_store.TokenSource(folder / "t.array_record")
  return [
    {k: _digest(v) if isinstance(v, np.ndarray) else v for k, v in source[i].items()}
    for i in range(len(source))
  ]


def _state(step):
  """Makes a state with leaves that are packed, and one too large for that."""
  w, wide = (jnp.full((n, n), float(step)) for n in (64, 600))
  return {"w": w, "wide": wide, "step": jnp.int32(step)}


def make_checkpoints(folder):
  with Checkpointer(folder / "checkpoints") as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, _state(step), f"at {step}")


def read_checkpoint(folder):
  with Checkpointer(folder / "checkpoints") as checkpoints:
    restored = checkpoints.restore(jax.eval_shape(lambda: _state(0)))
  value = restored.step, restored.data_state, _leaves(restored.state)
  before = 1, "at 1", _leaves(_state(1))
  return STEPPED_BACK if value == before else value


def _leaves(state):
  return [_digest(leaf) for leaf in jax.tree.leaves(state)]


def make_params(folder):
  rng = np.random.default_rng(0)
  kernel = rng.standard_normal((32, 16)).astype(np.float32)
  variables = {"params": {"dense": {"kernel": kernel, "bias": np.zeros(16)}}}
  weights.save_params(
    folder / "params.safetensors", variables, {"sample_rate": "16000"}
  )


def read_params(folder):
  path = folder / "params.safetensors"
  flat = jax.tree_util.tree_leaves_with_path(weights.load_params(path))
  return weights.load_metadata(path), [(str(key), _digest(x)) for key, x in flat]
