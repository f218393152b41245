"""What a fit costs, measured in a process of its own."""
