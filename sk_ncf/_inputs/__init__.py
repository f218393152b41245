"""Validation of what users give."""
