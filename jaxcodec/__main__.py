"""`python -m jaxcodec`."""

from jaxcodec.cli.main import script

script()
