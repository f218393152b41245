"""The potential, its characteristics and the map."""
