"""Tests of the asyncio facade."""
