"""Tests of the command line, as a person at a terminal and as a script."""
