"""Text on its way to a terminal: made safe, shortened, times as one says them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from miniagent_redis.cli.text import SafeStream, ago, one_line, safe, short_id, span

RUDE = "a\x1b[31mred\x1b[0m\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x9b2Jd\x1bPq\x1b\\e\x1b(Bf\x08\x00g\r\n\th\x7f"


def test_safe_text_holds_nothing_that_a_terminal_obeys() -> None:
    assert safe(RUDE) == "aredbcdefg\n\th"


def test_ordinary_text_is_safe_as_it_is() -> None:
    text = "Grüße, 世界 👩‍🚀 [bold]{}\n\tçava"
    assert safe(text) == text


def test_a_control_sequence_cut_in_two_is_safe_too() -> None:
    for first in range(len(RUDE)):
        for second in range(first, len(RUDE)):
            stream = SafeStream()
            pieces = (RUDE[:first], RUDE[first:second], RUDE[second:])
            assert "".join(map(stream.feed, pieces)) + stream.rest() == safe(RUDE)


def test_a_sequence_that_never_ends_does_not_hold_the_text_back() -> None:
    stream = SafeStream()
    shown = stream.feed("\x1b]0;" + "x" * 3000) + stream.feed("\x1b") + stream.rest()
    assert len(shown) > 2900
    assert "\x1b" not in shown


def test_text_on_one_line_is_cut_with_a_mark() -> None:
    assert one_line("  two\n lines ", 20) == "two lines"
    assert one_line("word " * 10_000, 10) == "word word…"
    assert one_line("\x1b[2J", 10) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (86400 * 40, "40 days ago"),
    ],
)
def test_times_are_told_from_now(seconds: int, words: str) -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    then = datetime.fromtimestamp(now.timestamp() - seconds, UTC)
    assert ago(then.isoformat(), now) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (5400, "90 minutes"),
        (86400, "1 day"),
        (2_592_000, "30 days"),
    ],
)
def test_spans_are_told_in_a_fitting_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_only_generated_ids_are_shortened() -> None:
    assert short_id("3f2a9c1e-0000-4000-8000-000000000000") == "3f2a9c1e"
    assert short_id("support-3f2a9c1e") == "support-3f2a9c1e"
