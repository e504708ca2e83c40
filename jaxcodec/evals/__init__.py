"""Measures of reconstructed and generated speech."""
