"""Whatever is stored, a terminal that shows it is told nothing but text.

Who can write a message, or choose an id, would else move the cursor, change the title, or type.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from miniagent_redis import Message, RedisConfig, RedisSessionManager, ToolCall
from miniagent_redis.cli import main
from tests.support.command_line import Home

RUDE = "a\x1b[31mred\x1b]0;title\x07\x9b2J\x1bPq\x1b\\\x90e\x9c\x08\x7f\r\x85end"
NAME = f"s {RUDE}"
ANSWER = [
    Message("assistant", RUDE, tool_calls=(ToolCall("1", RUDE, {RUDE: RUDE}),)),
    Message("tool", RUDE, tool_call_id="1", name=RUDE),
    Message("assistant", f"done {RUDE}"),
]
Call = Callable[..., str]


@pytest.fixture
def shown(
    redis_url: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Return a function that calls the command line and returns all that it shows."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr(sys, "stdin", io.StringIO("history\nlist\nresume nope\nHi\nquit\n"))

    def call(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(arguments)
        out, err = capfd.readouterr()
        return out + err

    return call


@pytest.fixture(autouse=True)
def rude(redis_url: str) -> None:
    """Store sessions in which every text tries to command a terminal."""
    with RedisSessionManager(RedisConfig(url=redis_url)) as store:
        for name, data in ((NAME, {RUDE: RUDE}), ("damaged", {}), ("gone", {}), ("open", {})):
            store.create_session(name, data, user_id=RUDE, agent_name=RUDE)
            store.commit_turn(store.begin_turn(name, RUDE), ANSWER)
        store.begin_turn("open", RUDE, turn_id="t")
        store.append_to_thread("open", Message("user", RUDE, metadata={"interrupted": RUDE}))
        store.parts.index.flush()
        client: Any = store.client
        client.lset("thread:{damaged}", 0, RUDE)
        client.set("session:{gone}", RUDE)
        client.zadd("sessions:{0}", {RUDE: 1})
        client.set(f"session:{{{RUDE}}}", RUDE)
        client.hset("metadata:{damaged}", RUDE, RUDE)


def commands(text: str) -> set[str]:
    """Return the characters that a terminal obeys, but for the ends of lines."""
    obeyed = {chr(n) for n in (*range(32), *range(127, 160))} - {"\n", "\t"}
    return obeyed.intersection(text)


COMMANDS = {
    "list": ["list", "--user", RUDE],
    "list as json": ["list", "--user", RUDE, "--json"],
    "history": ["history", NAME, "--user", RUDE],
    "history as json": ["history", NAME, "--user", RUDE, "--json"],
    "history of a damaged thread": ["history", "damaged", "--user", RUDE],
    "history of an open turn": ["history", "open", "--user", RUDE],
    "history of a damaged session": ["history", "gone", "--user", RUDE],
    "history of nothing": ["history", RUDE, "--user", RUDE],
    "end of nothing": ["end", RUDE, "--user", RUDE],
    "end": ["end", NAME, "--user", RUDE],
    "doctor": ["doctor"],
    "doctor as json": ["doctor", "--json"],
    "doctor that mends": ["doctor", "--repair"],
    "chat": ["chat", NAME, "--user", RUDE],
    "an option that is none": [f"--{RUDE}"],
    "a command that is none": [RUDE],
    "an error": ["history", NAME, "--user", "eve", "--debug"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_is_shown(shown: Call, command: str) -> None:
    text = shown(*COMMANDS[command])
    assert text
    assert commands(text) == set()


def test_a_terminal_is_told_none_of_what_is_stored(home: Home) -> None:
    """It gets colours and the like from us, but none of the sequences that the texts have."""
    with home.terminal("history", NAME, "--user", RUDE) as terminal:
        assert "done ared" in terminal.leave()
        assert not any(part in terminal.raw for part in (b"\x1b]", b"\x1bP", b"\xc2\x9b", b"\x08"))
    with home.terminal("list", "--user", RUDE) as terminal:
        assert "damaged" in terminal.leave()
        assert not any(part in terminal.raw for part in (b"\x1b]", b"\x1bP", b"\xc2\x9b", b"\x08"))
