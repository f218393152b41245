"""Class-conditional fits: labels, pseudo-labels, small classes."""
