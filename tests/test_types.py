import jax.numpy as jnp
import numpy as np
import pytest

from jaxcodec.types import Tokens, TokenSpec


def test_derived_quantities_of_dac_16khz():
  spec = TokenSpec(num_codebooks=12, codebook_size=1024, hop=320, sample_rate=16_000)
  assert spec.frame_rate == 50.0
  assert spec.bitrate == 6000.0  # the 6 kbps of DAC's 16 kHz model
  assert spec.num_frames(320) == 1 and spec.num_frames(321) == 2
  ids = {spec.mask_id, spec.pad_id, spec.eos_id}
  assert len(ids) == 3 and min(ids) == 1024 and max(ids) + 1 == spec.vocab_size


@pytest.mark.parametrize("bad", [0, -1, 1.5, None])
def test_a_spec_refuses_impossible_values(bad):
  with pytest.raises(ValueError, match="num_codebooks"):
    TokenSpec(num_codebooks=bad, codebook_size=8, hop=4, sample_rate=16)


def test_to_bkt_puts_codebooks_second():
  tokens = Tokens(jnp.zeros((2, 5, 3), jnp.int32), jnp.ones((2, 5), bool))
  assert tokens.to_bkt().shape == (2, 3, 5)


def test_from_bkt_undoes_to_bkt():
  codes_BxKxT = np.arange(30).reshape(2, 3, 5)
  tokens = Tokens.from_bkt(codes_BxKxT, lengths=[5, 2])
  np.testing.assert_array_equal(tokens.to_bkt(), codes_BxKxT)
  assert tokens.codes_BxTxK.dtype == np.int32
  assert tokens.num_frames() == [5, 2]
  assert Tokens.from_bkt(codes_BxKxT).mask_BxT.all()


@pytest.mark.parametrize(
  ("codes", "lengths", "message"),
  [
    (np.zeros((3, 5), int), None, r"integers \(B, K, T\), got int64 \(3, 5\)"),
    (np.zeros((1, 3, 5)), None, "must be integers"),
    (np.zeros((1, 3, 0), int), None, "must be integers"),
    (np.zeros((1, 3, 5), int), [6], "1 integers from 1 to 5"),
    (np.zeros((1, 3, 5), int), [1, 2], "1 integers from 1 to 5"),
  ],
)
def test_from_bkt_refuses_other_layouts(codes, lengths, message):
  with pytest.raises(ValueError, match=message):
    Tokens.from_bkt(codes, lengths)
