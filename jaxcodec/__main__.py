"""`python -m jaxcodec`."""

from jaxcodec.cli import script

script()
