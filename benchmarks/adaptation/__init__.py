"""Parts of `domain_adaptation.py`: real shifts, methods, a guard, tables."""
