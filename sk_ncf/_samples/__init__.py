"""Samples, their weights and splits."""
