"""The command line on an encrypted store: it reads all, or says which key it needs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from miniagent_redis.cli import main
from tests.support.keys import NEW, OLD, text

Run = Callable[..., str]


@pytest.fixture
def run(
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Return a function that runs a command on ada's encrypted session, with keys or without."""
    with RedisSessionManager(RedisConfig(url=redis_url, encryption_keys=text(old=OLD))) as store:
        store.create_session("s", user_id="ada")
        store.append_to_thread("s", Message("user", "opensesame"))
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("HOME", str(tmp_path))

    def run_it(*arguments: str, keys: str = "", code: int = 0, typed: str = "") -> str:
        monkeypatch.setenv("MINIAGENT_ENCRYPTION_KEYS", keys)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return out + err

    return run_it


def records(report: str) -> dict[str, Any]:
    checks: list[dict[str, Any]] = json.loads(report[: report.rindex("}") + 1])["checks"]
    [found] = [each for each in checks if each["name"] == "records"]
    return found


def test_with_the_keys_of_the_environment_commands_read_all(run: Run) -> None:
    keys = text(new=NEW, old=OLD)
    assert "opensesame" in run("history", "s", keys=keys)
    assert "opensesame" in run("list", keys=keys)
    run("chat", "s", keys=keys, typed="And?\n")
    assert "And?" in run("history", "s", keys=keys)
    assert records(run("doctor", "--json", keys=keys))["verdict"] == "ok"


def test_the_keys_may_be_in_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(text(old=OLD))
    assert "opensesame" in run("history", "s", keys=f"file:{tmp_path}/keys")


def test_without_them_they_say_what_is_needed(run: Run) -> None:
    told = run("history", "s", code=1)
    assert "encrypted with the key 'old'" in told
    assert "MINIAGENT_ENCRYPTION_KEYS" in told
    assert "not at hand" in run("list")
    found = records(run("doctor", "--json", code=3))
    assert found["verdict"] == "fail"
    assert "encrypted with the key 'old'" in found["detail"]


def test_keys_that_are_none_are_told_and_not_shown(run: Run) -> None:
    told = run("list", keys="opensesame", code=2)
    assert "encryption key number 1 is not usable" in told
    assert "opensesame" not in told
