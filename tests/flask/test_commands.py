"""``flask miniagent``: the commands of miniagent-redis, on the Redis of the app's configuration."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from miniagent_redis.cli.in_flask import miniagent
from miniagent_redis.flask import MiniAgent, current_agents
from tests.support.flask_apps import make_app
from tests.support.program import PROGRAMS, environment

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def app(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")  # the app knows better
    app = make_app("Hello Ada.", "Hello Bo.", testing=False, REDIS_URL=redis_url)
    with app.app_context():
        for user in ("ada", "bo"):
            manager = current_agents.for_user(user)
            manager.chat(manager.create_or_resume_session(session_id=f"of-{user}"), f"I am {user}")
        current_agents.close()
    return app


def call(app: Flask, *arguments: str) -> Result:
    return CliRunner().invoke(miniagent, arguments, obj=ScriptInfo(create_app=lambda: app))


def test_sessions_are_everybodys_or_one_users(app: Flask) -> None:
    done = call(app, "sessions")
    assert done.exit_code == 0, done.output
    assert "USER" in done.output
    assert {"ada", "bo"} <= set(done.output.split())
    listed = json.loads(call(app, "sessions", "--user", "bo", "--json").stdout)
    assert [one["session_id"] for one in listed] == ["of-bo"]


def test_a_conversation_is_shown_and_ended(app: Flask) -> None:
    assert "Hello Ada." in call(app, "history", "of-a").output
    assert call(app, "end", "of-ada").exit_code == 0
    failed = call(app, "history", "of-ada")
    assert failed.exit_code == 1
    assert " of anybody\n" in failed.output
    assert "removed: 1 session" in call(app, "forget", "bo", "--yes").output
    assert "Nobody has sessions yet." in call(app, "sessions").output


def test_the_doctor_looks_at_the_redis_of_the_app(app: Flask) -> None:
    done = call(app, "doctor", "--json")
    assert {"healthy", "checks"} <= json.loads(done.stdout).keys()
    assert "127.0.0.1:1" not in done.output


def test_of_several_one_is_named_by_its_prefix() -> None:
    app = Flask(__name__)
    app.config["SUPPORT_REDIS_URL"] = "redis://127.0.0.1:1"
    MiniAgent(app, prefix="SUPPORT_")
    assert "has no MiniAgent" in call(app, "sessions").output
    done = call(app, "--prefix", "SUPPORT_", "sessions")
    assert done.exit_code == 1
    assert "127.0.0.1:1" in done.output


def test_flask_finds_the_commands(redis_url: str, tmp_path: Path) -> None:
    """As it does once the package is installed: here by what setup.cfg says of that."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    group = setup["options.entry_points"]["flask.commands"]
    info = tmp_path / "of_this_test-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: of-this-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[flask.commands]\n{group}\n")
    env = environment(REDIS_URL=redis_url)
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{env['PYTHONPATH']}"
    flask = [sys.executable, "-m", "flask", "--app", f"{PROGRAMS}.flask_app"]
    done = subprocess.run(
        [*flask, "miniagent", "sessions"], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Nobody has sessions yet." in done.stderr
