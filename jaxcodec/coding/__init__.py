"""Codes in fewer bits without loss, by arithmetic that is the same everywhere."""
