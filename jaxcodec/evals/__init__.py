"""Measures reconstructed and generated speech."""
