"""Tests of the loop, models, tools and what an agent caches: no server."""
