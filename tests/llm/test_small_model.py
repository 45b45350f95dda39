"""What `scripts/bench --small-model` measures, with a server that stands for the small model."""

from __future__ import annotations

from benchmarks.small_model import WINDOW, converse
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import openai_chunk, said


def test_a_conversation_with_summaries_has_its_figures(
    canned: CannedServer, redis_url: str
) -> None:
    for _ in range(80):  # some are summaries
        canned.add(openai_chunk({"content": "It is made of this and that. " * 3}, "stop"), "[DONE]")
    figures = converse(canned.url, "small", 60, redis_url)
    assert figures.errors == []
    assert (len(figures.seconds), len(figures.requests)) == (60, 60)
    assert figures.stored == 2 * 60 + figures.summaries
    assert 0 < figures.full < 60
    assert figures.summaries >= 1
    assert 0.7 < figures.share() < 1
    rows = figures.table().splitlines()
    assert f"| longest request, of {WINDOW:,} tokens | 0 tokens |" in rows
    assert f"| turns; with a full window | 60; {60 - figures.full} |" in rows


def test_a_turn_that_fails_is_told_and_the_next_one_held(
    canned: CannedServer, redis_url: str
) -> None:
    canned.add(*said("openai", "One."))
    canned.add({"error": {"message": "No."}}, status=400)
    canned.add(*said("openai", "Three."))
    figures = converse(canned.url, "small", 3, redis_url)
    (error,) = figures.errors
    assert error.startswith("turn 1: ")
    assert "No." in error
    assert (len(figures.sizes), figures.stored) == (2, 4)
