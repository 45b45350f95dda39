"""Tests of turns, threads and agents on a store."""
