"""Tests of the doors, with clients that nobody here wrote."""
