"""Classes: labels, pseudo-labels, small classes."""
