"""Tests of the server that is started when there is none."""
