import jax.numpy as jnp
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
