"""The fixtures for tests of other programs, switched on as miniagent_redis.testing says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.program import environment

PROGRAM = """
def test_what_was_said_is_there_for_another_instance(open_manager):
    manager, other = open_manager("Hello, Ada!"), open_manager("Ada.")
    session_id = manager.create_or_resume_session("ada")
    assert manager.chat(session_id, "I am Ada") == "Hello, Ada!"
    assert other.chat(session_id, "Who am I?") == "Ada."
    said = [message["content"] for message in manager.get_history(session_id)]
    assert said == ["I am Ada", "Hello, Ada!", "Who am I?", "Ada."]

def test_the_store_of_another_test_is_another_one(open_manager):
    assert list(open_manager().list_sessions()) == []

def test_a_session_ends_when_the_clock_says_so(open_manager, manual_clock):
    manager = open_manager("Hello!")
    session_id = manager.create_or_resume_session()
    manual_clock.advance(31 * 86_400)
    assert manager.end_session(session_id) is False
"""


def test_a_conftest_switches_the_fixtures_on(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["miniagent_redis.testing"]\n')
    (tmp_path / "test_program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
