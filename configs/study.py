"""The study's grid: every codec with every speech language model, all else equal.

    python launch/study.py --config=configs/study.py --set data.source=folder \
        --set data.path=DIR

trains the full sizes, for a cluster: `--dry_run` prints one command a cell.

    python launch/study.py --config=configs/study.py:runlocal

is the small one, on the embedded corpus, with four codecs, few steps and one seed, for
two cores. It shows that everything works, not which codec is best.

    python launch/study.py --config=configs/study.py:runlocal,design=frozen

trains decoders for the same tokens instead, and every decoder speaks the codes that a
language model generated once. `design=both` has both in one report. With
`sizes=matched` all decoders have about as many parameters as Vocos' has.

`rows=quantizers` has every quantiser with Vocos' decoder in place of the paper's grid,
and `rows=rates` the baseline at 50, 25 and 12.5 frames a second, all at 4 kbit/s.
`rows=magnitudes` has four quantisers in the codec of magnitudes, which learns speech in
minutes, so that also the small language models of `runlocal` say words, which are those
of matrix sentences; its frozen design has Vocos' and DAC's decoders for these tokens.
The language model that reads texts is the delay pattern's with `rows=quantizers`, as
one of them has a single codebook, and elsewhere AR + NAR.

`librispeech`, `libritts` and `librilight` read these corpora as they are downloaded,
the first two by their own parts: `--set "data.folders.train=('train-clean-100',)"` says
which one has. Semantic tokens are then HuBERT's. docs/study/README.md has the
commands.
"""

from ml_collections import ConfigDict

from jaxcodec.recipes.args import parse

PAPER = (
  "baseline",
  "baseline_noncausal",
  "encodec",
  "encodecq_vocos",
  "encodecq_dac",
  "dacq_seanet",
  "dacq_vocos",
  "dac",
)
ROWS = {
  "paper": PAPER,
  "quantizers": (
    "encodecq_vocos",
    "dacq_vocos",
    "simvq_vocos",
    "fsq_vocos",
    "semantic_vocos",
    "single_vocos",
  ),
  "rates": ("baseline", "baseline_25hz", "baseline_12.5hz"),
  "magnitudes": (
    "magnitude_ema",
    "magnitude_dacq",
    "magnitude_simvq",
    "magnitude_fsq",
  ),
}
# By rows, the language models that aren't the paper's, of which AR + NAR wants two
# codebooks, and `single_vocos` has one.
_SLMS = {
  "quantizers": dict(maskgit="configs/dac_maskgit.py", delay="configs/dac_delay.py"),
  "magnitudes": dict(
    maskgit="configs/magnitude_maskgit.py", valle="configs/magnitude_valle.py"
  ),
}

_LIBRI_PARTS = (
  "data.folders.train=('train-clean-100', 'train-clean-360', 'train-other-500')",
  "data.folders.valid=('dev-clean',)",
  "data.folders.test=('test-clean',)",
)
_HUBERT = 768  # features of hubert-base
# Overrides by corpus. Libri-Light has no texts, so a thousandth of it is held out, and
# nothing is measured that needs them.
CORPORA = {
  "librispeech": _LIBRI_PARTS,
  "libritts": _LIBRI_PARTS,
  "librilight": (
    "data.valid=0.001",
    "data.test=0.001",
    "evaluate.generation=('speaker_similarity', 'dnsmos_ovrl')",
  ),
}


def get_config(arg=""):
  flags = dict.fromkeys(("runlocal", *CORPORA), False)
  args = parse(arg, design="joint", sizes="own", rows="paper", **flags)
  if args["rows"] not in ROWS:
    raise ValueError(f"config argument rows: {args['rows']!r} is none of {list(ROWS)}")
  config = ConfigDict()
  # What every cell's config is given beside its codec.
  config.arg = "" if args["sizes"] == "own" else f"sizes={args['sizes']}"
  config.codecs = ROWS[args["rows"]]
  # How codecs are trained: joint, each whole and with tokens of its own, as in the
  # paper; frozen, decoders for the tokens of codecs that are done; or both.
  config.design = args["design"]
  # The codecs of the frozen design that give tokens, and the decoders of these tokens.
  config.frozen = dict(
    tokens=("baseline", "dacq_seanet"),
    decoders=("seanet", "seanet_noncausal", "seanet_lstm", "vocos", "dac"),
  )
  # By language model, the config of its cells.
  config.slms = dict(maskgit="configs/dac_maskgit.py", valle="configs/dac_valle.py")
  # The language model whose config the codecs' cells run; it wants texts there too.
  config.codecs_of = "valle"
  config.seeds = (0, 1, 2)
  # Of every cell, as on launch/main.py's command line without `--config.`; of a
  # language model or codec alone with its name before, `valle:slm_train.max_seconds=9`,
  # and of the frozen design's decoders with `decoders:`.
  config.overrides = ("evaluate.opus=True",)
  # What the findings are judged by, and differences of it that don't matter.
  config.measures = dict(
    reconstruction="pesq_wb",
    naturalness="dnsmos_ovrl",
    intelligibility="wer",
    speaker="speaker_similarity",
  )
  config.margins = dict(naturalness=0.1, intelligibility=0.03, speaker=0.03)
  # Of the report's listening page; without the originals it shares no recording.
  config.listening = dict(sentences=6, originals=True)
  if args["rows"] == "magnitudes":
    config.frozen.update(tokens=config.codecs, decoders=("vocos", "dac"))
  if slms := _SLMS.get(args["rows"]):
    config.slms = slms
    (config.codecs_of,) = slms.keys() - {"maskgit"}  # the one that reads texts
  if args["runlocal"]:
    _runlocal(config, args)
  wanted = [name for name in CORPORA if args[name]]
  if len(wanted) > 1:
    raise ValueError(f"config arguments: one corpus at most, got {wanted}")
  for name in wanted:
    _read_corpus(config, name)
  return config


def _read_corpus(config, name):
  """Sets what all cells are given of a corpus but for where it and the models lie."""
  config.overrides = (
    *config.overrides,
    "data.source=folder",
    "data.on_error=skip",
    "semantic.name=hubert",
    *CORPORA[name],
  )
  if "semantic_vocos" in config.codecs:
    config.overrides += (f"semantic_vocos:codec.quantizer.semantic_dim={_HUBERT}",)
  if name == "librilight":
    del config.slms[config.codecs_of]  # which reads texts
    config.codecs_of = "maskgit"


# Of language models that say words after minutes: a small vocabulary, heard often.
_MATRIX = ("data.options.script=matrix", "data.options.max_utterances=3200")
_WORDS = (
  "slm_train.steps=1200",
  "generate.num_utterances=40",
  "evaluate.num_utterances=40",
  "codec_train.steps=800",
  "codec_train.batch_size=8",
  "codec_train.crop_seconds=1.5",  # no sentence is shorter
)
_WORDS_OF_DECODERS = (
  "decoders:codec_train.steps=2000",
  "decoders:codec_train.batch_size=2",
  "decoders:codec_train.crop_seconds=1.0",
  "decoders:codec_train.adversarial_start=1600",
)


def _runlocal(config, args):
  """Two quantisers crossed with two decoders; a third of the usual steps."""
  rows = args["rows"]
  config.arg = ",".join(filter(None, ("runlocal", config.arg)))
  config.seeds = (0,)
  config.overrides = (
    "evaluate.opus=True",
    "generate.num_utterances=12",
    "evaluate.num_utterances=12",
  )
  if rows == "magnitudes":  # at the usual steps, and none from the shipped codec
    config.arg += ",scratch"
    config.overrides += _WORDS
    config.overrides += () if args["design"] == "joint" else _WORDS_OF_DECODERS
    config.overrides += () if any(args[name] for name in CORPORA) else _MATRIX
    return
  if rows == "paper":
    config.codecs = ("encodecq_vocos", "encodecq_dac", "dacq_vocos", "dac")
  config.frozen.update(
    tokens=("encodecq_vocos", "dacq_vocos"), decoders=("vocos", "dac")
  )
  config.overrides += (
    "codec_train.steps=1000",
    "codec_train.adversarial_start=800",
    "slm_train.steps=500",
  )
