"""The chat in a pipe: answers on stdout, everything else on stderr."""

from __future__ import annotations

import re
import signal
from math import inf
from pathlib import Path

from miniagent_redis import SessionManager
from tests.support.command_line import Home
from tests.support.servers import RedisServer


def test_only_answers_are_on_stdout(home: Home) -> None:
    home.environment["FORCE_COLOR"] = "1"
    done = home.run(
        "chat", typed="My name is Ada.\n\n  \nWhat is 2 + 2?\nquit\nnot read any more\n"
    )
    assert done.stdout == "Hello, Ada!\n2 + 2 = 4\n"
    place, session, tool, end = done.stderr.split("\n")
    assert place == f"Conversations are kept in Redis at {home.environment['REDIS_URL'][:-5]}."
    assert session.startswith("Session ")
    assert session.endswith(
        " (new, kept for 30 days after its last use), model demo. Type help for commands."
    )
    assert tool == '· calculator(expression="2 + 2") → 4'
    assert end == ""


def test_a_conversation_goes_on_in_the_embedded_server_after_a_restart(tmp_path: Path) -> None:
    home = Home(tmp_path, None)
    first = home.run("chat", typed="My name is Ada.\nquit\n")
    second = home.run("chat", "--continue", typed="What is my name?")
    assert second.stdout == "Your name is Ada.\n"
    assert f"{tmp_path}/.local/share/miniagent-redis (embedded server)" in first.stderr
    assert "Set REDIS_URL=redis://host:6379" in first.stderr
    assert "(2 messages, used just now)" in second.stderr


def test_commands_work_in_a_pipe(home: Home) -> None:
    typed = "history\nclear\nhi\n/new\nMy name is Bo.\nresume last\nhistory\nclear\nhistory\nlist"
    done = home.run("chat", typed=typed)
    said = "Hello! I am the demo model. What is your name?"
    lines = done.stdout.splitlines()
    assert lines[:4] == [said, "Hello, Bo!", "> hi", said]
    assert [line.split()[1:] for line in lines[4:]] == [
        ["LAST", "USED", "MESSAGES", "TITLE"],
        ["just", "now", "(this", "one)", "0"],
        ["just", "now", "2", "My", "name", "is", "Bo."],
    ]
    notes = done.stderr.splitlines()[2:]
    assert notes[:2] == [
        "Nothing has been said in this session yet.",
        "There is nothing to forget in this session.",
    ]
    assert notes[-2:] == [
        "What was said in this session is forgotten.",
        "Nothing is stored of what was said in this session.",
    ]


def test_a_session_begins_with_its_first_message_and_not_before(
    home: Home, manager: SessionManager
) -> None:
    home.run("chat", typed="new\nlist\nquit\n")
    assert manager.list_sessions() == []


def test_an_answer_that_breaks_off_is_kept_as_far_as_it_came(
    home: Home, manager: SessionManager
) -> None:
    done = home.run("chat", "--model", "broken", typed="hi", code=1)
    assert done.stdout == "I\n"
    assert done.stderr.splitlines()[2:] == [
        "Error: the model failed in the middle of its answer",
        "  Cause: RuntimeError: out of words",
    ]
    (session,) = manager.list_sessions()
    assert [m["content"] for m in manager.get_history(session["session_id"])] == ["hi", "I"]


def test_an_answer_that_was_cut_off_says_so_beside_it(home: Home) -> None:
    for reason, told in (
        ("length", "The answer was cut off here: it has as many tokens as it may have."),
        ("content_filter", "The answer was cut off here by a content filter."),
        ("odd", "The answer may not be whole: it ended by 'odd'."),
    ):
        done = home.run("chat", "--model", f"cut:{reason}", typed="hi")
        assert done.stdout == "Half of\n"
        assert done.stderr.splitlines()[2:] == [told]


def test_a_first_message_that_fails_leaves_no_session(home: Home, manager: SessionManager) -> None:
    home.run("chat", "--model", "silent", typed="hi", code=1)
    assert manager.list_sessions() == []


def test_each_user_has_sessions_of_their_own(home: Home, manager: SessionManager) -> None:
    home.run("chat", "--user", "bo", typed="My name is Bo.")
    (session,) = manager.list_sessions("bo")
    assert session["session_id"]
    for named in ("last", session["session_id"], session["session_id"][:4]):
        done = home.run("chat", named, code=1)
        assert "Error: " in done.stderr
    done = home.run("chat", "--continue", typed="What is my name?")
    assert "There is no session to go on with yet." in done.stderr
    assert done.stdout == "You have not told me your name yet.\n"


def test_a_session_is_found_by_the_start_of_its_id(home: Home, manager: SessionManager) -> None:
    for name in ("plan-a", "plan-b", "list"):
        manager.create_or_resume_session("ada", name)
    manager.create_or_resume_session("bo", "plan-c")
    done = home.run(
        "chat", "plan-b", typed="resume plan\nresume li\nresume x\nresume {*}\nhi", code=1
    )
    assert done.stdout == "Hello! I am the demo model. What is your name?\n"
    assert manager.get_history("list")
    assert "Error: 2 sessions of ada begin with 'plan'\n" in done.stderr
    assert "  Cause: they are " in done.stderr
    assert "plan-c" not in done.stderr
    assert "Error: there is no session 'x' of ada\n" in done.stderr
    assert "Error: there is no session '{*}' of ada\n" in done.stderr


def test_a_line_with_a_slash_that_is_no_command_is_not_sent(
    home: Home, manager: SessionManager
) -> None:
    done = home.run("chat", typed="/frob\n//frob\n", code=1)
    assert "There is no command /frob." in done.stderr
    (session,) = manager.list_sessions("ada")
    said = [message["content"] for message in manager.get_history(session["session_id"])]
    assert said[0] == "/frob"
    assert len(said) == 2


def test_what_a_model_says_is_neither_obeyed_nor_marked_up(home: Home) -> None:
    done = home.run("chat", "--model", "rude", typed="hi\nhistory\n")
    said = "[bold]not bold[/] red :smile:\n"
    assert done.stdout == f"{said}> hi\n{said}"


def test_any_bytes_can_be_piped_in(home: Home, manager: SessionManager) -> None:
    home.run("chat", typed=b"\xff caf\xc3\xa9 \x00\n")
    (session,) = manager.list_sessions("ada")
    first, _ = manager.get_history(session["session_id"])
    assert first["content"] == "\ufffd café \x00"


def test_a_message_that_is_too_large_is_told_and_the_chat_goes_on(home: Home) -> None:
    home.environment["MINIAGENT_MAX_SESSION_SIZE"] = "1000000"
    done = home.run("chat", typed="hi\n" + "x" * 5_000_000 + "\nWhat did I just say?\n", code=1)
    assert done.stdout.splitlines()[1] == "You said: “hi”"
    assert "would grow to 5,0" in done.stderr
    assert "Fix: send less, type clear or new" in done.stderr


def test_the_chat_survives_an_outage(home: Home, redis_server: RedisServer) -> None:
    # Not "everysec": a write that waits for a running fsync is lost with the process.
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        home.environment["REDIS_URL"] = server.url
        chat = home.start("chat")
        assert chat.stdin
        assert chat.stdout
        assert chat.stderr
        chat.stdin.write("My name is Ada.\n")
        assert chat.stdout.readline() == "Hello, Ada!\n"
        server.kill()
        chat.stdin.write("hi\n")
        told = [chat.stderr.readline() for _ in range(5)]
        assert told[2].startswith("Error: no Redis answers at unix://")
        server.start()
        out, err = chat.communicate("What is my name?\n")
        assert (out, err) == ("Your name is Ada.\n", "")
        assert chat.returncode == 1


def test_without_redis_the_chat_says_what_to_do(home: Home) -> None:
    done = home.run("chat", "--url", "redis://:secret@127.0.0.1:1", typed="hi\n", code=1)
    assert done.stdout == ""
    problem, cause, fix = done.stderr.splitlines()
    assert problem == "Error: no Redis answers at redis://127.0.0.1:1"
    assert cause.startswith("  Cause: ")
    assert fix.startswith("  Fix: start it (redis-server), or set REDIS_URL")


def test_sessions_live_as_long_as_asked(home: Home, manager: SessionManager) -> None:
    def lifetime() -> float:
        (session,) = manager.list_sessions("ada")
        state = manager.store.session_state(session["session_id"])
        return (state.expires_at or inf) - state.last_activity

    home.environment["MINIAGENT_SESSION_TTL"] = "7200"
    assert "kept for 2 hours after" in home.run("chat", typed="hi").stderr
    assert lifetime() == 7200
    home.run("chat", "--continue", "--ttl", "10d", typed="hi")
    assert lifetime() == 864_000
    home.run("chat", "--continue", typed="hi")
    assert lifetime() == 864_000
    home.run("chat", "--continue", "--ttl", "never", typed="hi")
    assert lifetime() == inf
    for given in ("30d", "never"):  # each command reads it
        home.environment["MINIAGENT_SESSION_TTL"] = given
        assert home.run("list").stdout
    assert "(new, kept for good)" in home.run("chat", typed="").stderr


def test_ctrl_c_ends_a_chat_in_a_pipe_and_keeps_what_was_said(
    home: Home, manager: SessionManager
) -> None:
    chat = home.start("chat", "--model", "slow")
    assert chat.stdin
    assert chat.stdout
    chat.stdin.write("hi\n")
    assert chat.stdout.read(5) == "Well,"
    chat.send_signal(signal.SIGINT)
    out, err = chat.communicate()
    assert (out, chat.returncode) == ("\n", 130)
    assert "Traceback" not in err
    (session,) = manager.list_sessions()
    _, answer = manager.get_history(session["session_id"])
    assert answer["content"].startswith("Well,")
    assert answer["metadata"]["interrupted"] == "stopped"


def test_a_closed_pipe_ends_the_chat_without_a_word(home: Home) -> None:
    chat = home.start("chat")
    assert chat.stdout
    assert chat.stderr
    chat.stdout.close()
    assert chat.stdin
    chat.stdin.write("hi\nhi\n")
    chat.stdin.close()
    assert len(chat.stderr.read().splitlines()) == 2
    assert chat.wait() == 141
    chat.stderr.close()


def test_a_session_goes_on_with_its_model_unless_another_one_is_chosen(
    home: Home, manager: SessionManager
) -> None:
    home.run("chat", "--model", "parrot", typed="one")
    done = home.run("chat", "--continue", typed="two\nnew\nMy name is Ada.\nresume last\nthree")
    assert done.stdout == "None two\nHello, Ada!\nNone three\n"
    told = [line for line in done.stderr.splitlines() if line.startswith("Session ")]
    assert [re.findall("model [a-z]+", line) for line in told] == [
        ["model parrot"], ["model demo"], ["model parrot"],
    ]  # fmt: skip
    home.environment["MINIAGENT_MODEL"] = "broken"  # of new sessions
    assert home.run("chat", "--continue", typed="four").stdout == "None four\n"
    chosen = home.run("chat", "--continue", "--model", "demo", typed="My name is Bo.")
    assert chosen.stdout == "Hello, Bo!\n"
    del home.environment["MINIAGENT_MODEL"]
    of_program = manager.create_or_resume_session("ada")  # whose agent has a name of its own
    manager.chat(of_program, "Hello!")
    assert home.run("chat", of_program, typed="My name is Ada.").stdout == "Hello, Ada!\n"


def test_the_system_prompt_and_the_model_are_passed_on(home: Home) -> None:
    home.environment["MINIAGENT_MODEL"] = "parrot"
    assert home.run("chat", "--system", "Be kind.", typed="hi").stdout == "Be kind. hi\n"
