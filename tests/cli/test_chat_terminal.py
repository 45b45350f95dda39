"""The chat at a terminal: prompt, Ctrl-C, Ctrl-D, line history; plain and with the pretty parts."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from miniagent_redis import SessionManager
from miniagent_redis.embedded.home import prepare_home
from miniagent_redis.embedded.process import is_running
from tests.support.command_line import CTRL_C, CTRL_D, Home

PROMPT = "> "
UP = "\x1b[A"
COLOUR = re.compile(rb"\x1b\[[0-9;]*[1-9][0-9;]*m")


@pytest.fixture(params=["pretty", "plain"])
def looks(request: pytest.FixtureRequest, home: Home) -> str:
    """Run the test twice, once without the optional packages."""
    if request.param == "plain":
        home.without_rich_and_prompt_toolkit()
    return str(request.param)


def test_a_chat_with_its_commands_until_ctrl_d(home: Home, looks: str) -> None:
    with home.terminal("chat") as terminal:
        terminal.expect("Type help for commands.\n\n> ")
        terminal.type("What is 2 + 2?\r")
        terminal.expect('\n· calculator(expression="2 + 2") → 4\n2 + 2 = 4\n\n> ')
        terminal.type("help\r")
        terminal.expect("  clear       forget what was said in this session\n")
        terminal.expect(PROMPT)
        terminal.type("list\r")
        terminal.expect("TITLE")
        terminal.expect("just now (this one)  4         What is 2 + 2?\n\n> ")
        terminal.type("resume x\r")
        terminal.expect(
            "Error: there is no session 'x' of ada\n  Cause: no id begins so; the latest"
        )
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        end = terminal.leave()
        assert end.endswith("\nStart the chat with --continue to go on with this conversation.\n")
        assert bool(COLOUR.search(terminal.raw)) == (looks == "pretty")


def test_clear_asks_before_it_forgets(home: Home, looks: str, manager: SessionManager) -> None:
    with home.terminal("chat") as terminal:
        terminal.expect(PROMPT)
        terminal.type("My name is Ada.\r")
        terminal.expect("Hello, Ada!\n\n> ")
        for answer in ("n", ""):
            terminal.type("clear\r")
            terminal.expect("Forget what was said in this session? It cannot be undone. [y/N]\n> ")
            terminal.type(f"{answer}\r")
            terminal.expect("Nothing is forgotten.\n\n> ")
        terminal.type("/clear\r")
        terminal.expect("[y/N]\n> ")
        terminal.type("y\r")
        terminal.expect("What was said in this session is forgotten.\n\n> ")
        terminal.type("quit\r")
        terminal.leave()
    (session,) = manager.list_sessions()
    assert session["message_count"] == 0


def test_ctrl_c_stops_an_answer_and_not_the_program(
    home: Home, looks: str, manager: SessionManager
) -> None:
    with home.terminal("chat", "--model", "slow") as terminal:
        terminal.expect(PROMPT)
        terminal.press(CTRL_C, "\nCtrl-D or quit leaves.\n")
        terminal.expect(PROMPT)
        terminal.type("Go on.\r")
        terminal.expect("Well,")
        # Several at once, as impatient people do.
        kept = "Stopped. Your message is kept, and what there is of the answer.\n\n"
        terminal.press(CTRL_C * 3, kept)
        terminal.expect(PROMPT)
        (session,) = manager.list_sessions()
        assert session["message_count"] == 2
        terminal.type("quit\r")
        terminal.leave()


def test_what_was_typed_is_there_in_the_next_chat(home: Home, looks: str) -> None:
    for expected in ("", "My name is Ada."):
        with home.terminal("chat", "-c") as terminal:
            terminal.expect(PROMPT)
            if expected:
                terminal.type(UP + UP)
                terminal.expect(expected)
            else:
                terminal.type("My name is Ada.")
            terminal.type("\r")
            terminal.expect("Hello, Ada!\n\n")
            terminal.expect(PROMPT)
            terminal.type("quit\r")
            terminal.leave()
    file = home.folder / ".local/share/miniagent-redis/chat_history"
    assert file.stat().st_mode & 0o777 == 0o600


def test_lines_that_are_pasted_are_one_message(home: Home, manager: SessionManager) -> None:
    with home.terminal("chat") as terminal:
        terminal.expect(PROMPT)
        terminal.type("\x1b[200~first\nlist\x1b[201~")
        terminal.expect("list")
        terminal.type("\x1b\rthird\r")
        terminal.expect("demo model")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        terminal.leave()
    (session,) = manager.list_sessions("ada")
    assert manager.get_history(session["session_id"])[0]["content"] == "first\nlist\nthird"


def test_bytes_that_are_no_text_are_no_error(
    home: Home, looks: str, manager: SessionManager
) -> None:
    with home.terminal("chat") as terminal:
        terminal.expect(PROMPT)
        terminal.type(b"\xff caf\xc3\xa9\r")
        terminal.expect("demo model")
        terminal.expect(PROMPT)
        terminal.type(CTRL_D)
        terminal.leave()
    (session,) = manager.list_sessions("ada")
    assert "café" in manager.get_history(session["session_id"])[0]["content"]


def test_no_color_means_none(home: Home) -> None:
    home.environment["NO_COLOR"] = "1"
    with home.terminal("chat") as terminal:
        terminal.expect("\n>")
        terminal.type("list\r")
        terminal.expect("no sessions yet")
        terminal.expect("\n>")
        terminal.type(CTRL_D)
        terminal.leave()
        assert not COLOUR.search(terminal.raw)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_embedded_server_ends_with_the_chat_that_is_told_to_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    home = Home(tmp_path, None)
    server = prepare_home(tmp_path / ".local/share/miniagent-redis")
    with home.terminal("chat") as terminal:
        terminal.expect(PROMPT)
        assert is_running(server)
        terminal.send(number)
        terminal.leave(128 + number)
        assert not is_running(server)
        assert "Traceback" not in terminal.screen
