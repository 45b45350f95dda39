"""What is typed in the chat is a command only if the whole line is one."""

from __future__ import annotations

import pytest

from miniagent_redis.cli.commands import Command, Hint, Say, parse


@pytest.mark.parametrize("word", ["new", "list", "history", "clear", "help", "quit", "exit"])
def test_a_word_is_a_command_with_or_without_a_slash(word: str) -> None:
    for line in (word, f"/{word}", f"  {word.title()} "):
        assert parse(line) == Command(word)


def test_resume_takes_one_argument() -> None:
    assert parse("resume 3f2a") == Command("resume", "3f2a")
    assert parse("/resume last") == Command("resume", "last")
    assert isinstance(parse("resume"), Hint)
    assert isinstance(parse("/resume one two"), Hint)


@pytest.mark.parametrize(
    "line",
    [
        "list the planets",
        "resume the story please",
        "help me",
        "quit?",
        "a /list",
        "list\nplanets",
        "resume\nlast",
    ],
)
def test_a_line_that_only_begins_like_a_command_is_a_message(line: str) -> None:
    assert parse(line) == Say(line)


@pytest.mark.parametrize("line", ["/", "/frob", "/etc/hosts is wrong", "/list planets", "/new\nx"])
def test_a_slash_without_a_command_is_not_sent(line: str) -> None:
    hint = parse(line)
    assert isinstance(hint, Hint)
    assert "//" in hint.text


def test_a_slip_in_a_command_is_guessed() -> None:
    assert "There is no command /hlep: did you mean /help?" in parse_hint("/hlep")
    assert "did you mean /regenerate?" in parse_hint("/regenrate")
    assert "did you mean" not in parse_hint("/etc/hosts is wrong")


def parse_hint(line: str) -> str:
    hint = parse(line)
    assert isinstance(hint, Hint)
    return hint.text


def test_two_slashes_send_a_line_with_one() -> None:
    assert parse("//list") == Say("/list")


@pytest.mark.parametrize("line", ["", "   ", "\t"])
def test_an_empty_line_is_nothing(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/regenerate", Command("regenerate")),
        ("/rewind", Command("rewind")),
        ("/Rewind 3", Command("rewind", "3")),
        ("/fork 12", Command("fork", "12")),
        ("/title  A day in Rome ", Command("title", "A day in Rome")),
        ("/search two words", Command("search", "two words")),
        ("/edit several\nlines", Command("edit", "several\nlines")),
    ],
)
def test_what_goes_back_or_names_something_has_a_slash(line: str, command: Command) -> None:
    assert parse(line) == command
    assert parse(line[1:]) == Say(line[1:])


@pytest.mark.parametrize(
    "line", ["/rewind x", "/fork -1", "/title", "/search", "/edit ", "/regenerate it", "/fork 1 2"]
)
def test_what_it_needs_is_told(line: str) -> None:
    assert isinstance(parse(line), Hint)
