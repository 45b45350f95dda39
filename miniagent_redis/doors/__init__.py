"""Doors, by which other programs come in: pure functions that know no web framework."""
