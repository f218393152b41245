"""Checkpoints of a fit, from which the same fit continues after a crash."""
