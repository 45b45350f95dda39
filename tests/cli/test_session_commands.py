"""The commands for scripts: list, history, end; exit codes, help, and what they cost to start."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from miniagent_redis import Message, RedisConfig, SessionAgent, SessionManager, UsageTotals
from miniagent_redis.cli import main
from miniagent_redis.cli.opening import open_chat
from miniagent_redis.cli.reports import report_sessions
from miniagent_redis.maintenance.spool import Spool
from tests.support.command_line import COMMAND, Home

Call = Callable[..., tuple[str, str]]


@pytest.fixture
def talks(manager: SessionManager) -> list[str]:
    """Return the ids of two sessions of ada, the latest first; there is one of bo, too."""
    for user, name in (("ada", "older"), ("bo", "other"), ("ada", "newer")):
        manager.create_or_resume_session(user, name)
        manager.chat(name, f"I am {user.title()}.\nWhat is 6 * 7?")
        manager.store.parts.index.flush()
    return ["newer", "older"]


@pytest.fixture
def call(
    redis_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Return a function that calls the command line, checks its exit code and returns its words."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("LOGNAME", "ada")

    def call_it(*arguments: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return out, err

    return call_it


@pytest.mark.usefixtures("talks")
def test_a_file_in_the_working_folder_stands_for_what_the_environment_lacks(
    call: Call, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"# where it is\nREDIS_URL='{redis_url}'  # here\nLOGNAME=bo\n")
    monkeypatch.delenv("REDIS_URL")
    out, _ = call("list")
    assert "I am Ada." in out
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1")
    assert "localhost:1" in call("list", code=1)[1]


def test_a_file_of_settings_that_cannot_be_read_is_told(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".env"
    file.write_bytes(b"\xff\xfe")
    assert f"{file} cannot be read" in call("list", code=2)[1]
    file.unlink()
    file.mkdir()  # a virtual environment
    call("list")


def test_list_shows_the_latest_first(call: Call, talks: list[str]) -> None:
    out, err = call("list")
    assert err == ""
    assert out == (
        "SESSION  LAST USED  MESSAGES  TITLE\n"
        "newer    just now   4         I am Ada. What is 6 * 7?\n"
        "older    just now   4         I am Ada. What is 6 * 7?\n"
    )
    out, err = call("list", "--limit", "1")
    assert len(out.splitlines()) == 2
    assert err == "There are more: raise --limit.\n"
    none = "bea has no sessions yet. Those of others: --all, or --user NAME.\n"
    assert call("list", "--user", "bea") == ("", none)


def test_list_and_history_give_json_to_machines(
    call: Call, talks: list[str], manager: SessionManager
) -> None:
    listed = manager.list_sessions("ada")
    assert json.loads(call("list", "--json")[0]) == listed
    assert json.loads(call("list", "--json", "--user", "nobody")[0]) == []
    assert json.loads(call("history", "older", "--json")[0]) == manager.get_history("older")


@pytest.mark.usefixtures("talks")
def test_everybodys_sessions_are_there_too_those_of_nobody_as_well(
    call: Call, manager: SessionManager
) -> None:
    manager.create_or_resume_session(None, "nobodys")
    manager.chat("nobodys", "Who am I?")
    manager.store.parts.index.flush()
    out, _ = call("list", "--all")
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["nobodys", "just"], ["ada", "newer"], ["bo", "other"], ["ada", "older"],
    ]  # fmt: skip
    assert "Who am I?" in call("history", "nobodys", "--all")[0]
    assert "there is no session 'nobodys' of ada" in call("end", "nobodys", code=1)[1]
    assert "is removed" in call("end", "nobodys", "--all")[1]


def test_history_shows_what_was_said(call: Call, talks: list[str]) -> None:
    said = (
        "> I am Ada.\n  What is 6 * 7?\n"
        '· calculator(expression="6 * 7") → 42\n'
        "6 * 7 = 42\n"
    )  # fmt: skip
    assert call("history", "old") == (said, "")
    assert "Error: there is no session 'other' of ada" in call("history", "other", code=1)[1]
    assert call("history", "other", "--user", "bo")[0].startswith("> I am Bo.")


def test_history_tells_of_messages_that_cannot_be_read(
    call: Call, talks: list[str], manager: SessionManager
) -> None:
    manager.store.client.lset("thread:{newer}", 0, "{")
    out, err = call("history", "newer")
    assert out.endswith("6 * 7 = 42\n")
    assert err == "1 message could not be read and is left out here.\n"


def test_a_question_in_the_place_of_a_session_is_told_where_it_belongs(call: Call) -> None:
    for command in ("chat", "history"):
        err = call(command, "What is 6 * 7?", code=1)[1]
        assert "Fix: what is to be said is typed in the chat, or piped: echo … | " in err


def test_settings_that_nobody_heeds_are_told(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("REDIS_PORT", "6399")
    err = call("list")[1]
    assert err.startswith("REDIS_PORT: of no use without REDIS_HOST or REDIS_URL")


def test_serve_without_its_packages_tells_how_to_install_them(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "miniagent_redis.cli.serving", raising=False)
    monkeypatch.setitem(sys.modules, "flask", None)
    err = call("serve", code=1)[1]
    assert "Cause: there is no module flask\n" in err
    assert f"Fix: {sys.executable} -m pip install 'miniagent-redis[serve]'\n" in err


def test_a_model_with_a_slip_in_its_name_is_guessed(call: Call) -> None:
    for wrong, meant in (("gpt-5", "openai:gpt-5"), ("opnai:gpt-5", "openai:gpt-5")):
        assert f"did you mean {meant}?" in call("chat", "--model", wrong, code=2)[1]
    assert "did you mean" not in call("chat", "--model", "zzz", code=2)[1]


def test_end_removes_a_session(call: Call, talks: list[str], manager: SessionManager) -> None:
    assert call("end", "last") == ("", "Session newer is removed.\n")
    assert "Error: there is no session 'other' of ada" in call("end", "other", code=1)[1]
    assert sorted(each["session_id"] for each in manager.list_sessions()) == ["older", "other"]


def test_forget_removes_all_of_a_user(
    call: Call, talks: list[str], manager: SessionManager
) -> None:
    told = "Of ada are removed: 2 sessions, 8 messages, the totals.\n"
    assert call("forget", "ada", "--yes") == ("", told)
    assert [each["user_id"] for each in manager.list_sessions()] == ["bo"]
    assert call("forget", "ada", "--yes") == ("", "Nothing is stored of ada.\n")


def test_forget_removes_what_waits_on_this_machine(
    call: Call,
    talks: list[str],
    manager: SessionManager,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turn = manager.store.begin_turn("newer", "one")
    Spool(tmp_path, manager.store.parts).keep(turn, [Message("assistant", "x")], UsageTotals())
    (turn_file,) = tmp_path.glob("*.turn")
    turn_file.rename(turn_file.with_suffix(".set-aside"))
    monkeypatch.setenv("MINIAGENT_SPOOL_DIR", str(tmp_path))
    assert "1 spooled turn," in call("forget", "ada", "--yes")[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "left", "code"), [("y\n", 1, 0), ("n\n", 3, 1), ("\n", 3, 1)])
def test_forget_asks_whoever_sits_at_a_terminal(
    call: Call,
    talks: list[str],
    manager: SessionManager,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    left: int,
    code: int,
) -> None:
    monkeypatch.setattr("miniagent_redis.cli.reports.is_interactive", lambda: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    _, err = call("forget", "ada", code=code)
    assert "Remove all that is stored of ada? It cannot be undone [y/N]" in err
    assert ("Nothing was removed." in err) == bool(code)
    assert len(manager.list_sessions()) == left


def test_forget_does_nothing_where_nobody_can_be_asked(
    call: Call, talks: list[str], manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert "add --yes" in call("forget", "ada", code=2)[1]
    assert len(manager.list_sessions()) == 3


def test_forget_tells_of_what_has_just_begun(
    call: Call, manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.store.parts.index.enter("s", "a\x1b[2Jda", round(time.time() * 1000), 2**51)
    told = "Perhaps 1 session of ada just began: do it again in a minute.\n"
    assert call("forget", "a\x1b[2Jda", "--yes") == ("", told)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["frob"], "No such command 'frob'"),
        (["chat", "--frob"], "--frob"),
        (["chat", "--ttl", "soon"], "'soon' is no time"),
        (["chat", "--ttl", "0"], "'0' is no time"),
        (["chat", "--model", "nobody"], "there is no model 'nobody' (known here: "),
        (["chat", "--url", "ftp://host"], "'ftp://host' is not a Redis URL"),
        (["list", "--url", "http://host"], "Cause: the forms are redis://host:6379/0, "),
        (["chat", "--continue", "last"], "either SESSION or --continue"),
        (["list", "--user", ""], "'--user'"),
        (["forget", "", "--yes"], "'USER': it is empty"),
        (["forget"], "Missing argument 'USER'"),
    ],
)
def test_wrong_usage_has_an_exit_code_of_its_own(
    call: Call, arguments: list[str], complaint: str
) -> None:
    out, err = call(*arguments, code=2)
    assert complaint in err
    assert out == ""


def test_a_host_that_nobody_knows_is_told_from_a_server_that_is_down(call: Call) -> None:
    err = call("list", "--url", "redis://nowhere.invalid:1", code=1)[1]
    assert "Fix: see whether the host's name is right: this machine cannot find it\n" in err
    assert "Fix: start it (redis-server)" in call("list", "--url", "redis://localhost:1", code=1)[1]


def test_a_traceback_is_shown_only_with_debug(home: Home) -> None:
    assert "Traceback" not in home.run("history", "x", code=1).stderr
    for arguments in (["--debug", "history", "x"], ["history", "x", "--debug"]):
        done = home.run(*arguments, code=1)
        assert "Traceback" in done.stderr
        assert "Error: there is no session 'x' of ada" in done.stderr


def test_a_closed_pipe_is_no_error(home: Home, talks: list[str]) -> None:
    process = home.start("list")
    assert process.stdout
    process.stdout.close()
    _, err = process.communicate()
    assert (err, process.returncode) == ("", 141)


def test_help_is_found_by_its_letter(call: Call) -> None:
    assert call("-h") == call("--help")
    assert call("list", "-h") == call("list", "--help")


def test_help_begins_with_examples(call: Call) -> None:
    out = " ".join(call("chat", "-h")[0].split())
    assert "miniagent-redis chat --continue" in out
    assert "| miniagent-redis chat" in out


def test_help_tells_the_exit_codes_and_version_the_version(home: Home) -> None:
    done = home.run("--help")
    assert "130  stopped with Ctrl-C" in done.stdout
    for option in ("--version", "-V"):
        assert home.run(option).stdout == f"miniagent-redis {version('miniagent-redis')}\n"
    assert "default: 30d]" in " ".join(home.run("chat", "--help").stdout.split())


def test_the_command_line_is_light_until_it_is_needed() -> None:
    heavy = {"asyncio", "cattrs", "platformdirs", "prompt_toolkit", "readline", "redis", "rich"}
    code = f"import sys, miniagent_redis.cli; print(*sys.modules.keys() & {heavy})"
    done = subprocess.run([COMMAND[0], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_command_sweeps_as_hooks_of_programs_may_want_to_see_what_has_ended(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[SessionAgent] = []
    initialize = SessionAgent.initialize

    def note(agent: SessionAgent) -> SessionAgent:
        opened.append(agent)
        return initialize(agent)

    monkeypatch.setattr(SessionAgent, "initialize", note)
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n"))
    config = RedisConfig(url=redis_url)
    open_chat(None, go_on=False, user="ada", model="demo", system="", config=config, ttl=None)
    report_sessions(config, "ada", 5, as_json=False)
    assert len(opened) == 2
    names = {job.name for agent in opened for job in agent.background.jobs}
    assert "renew leases" in names
    assert "sweep" not in names
