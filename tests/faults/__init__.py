"""Tests of the promises in docs/guarantees.md: faults on purpose, at any moment, in any place."""
