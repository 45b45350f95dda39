"""Tests of the check of what is stored."""
