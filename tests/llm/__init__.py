"""Tests of models of providers, without a network."""
