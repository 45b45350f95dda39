"""The chat asks what a turn waits for: whether a call may run, or what it gave."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Home

SHOP = """
from miniagent_redis import ToolRegistry

tools = ToolRegistry()


@tools.tool(approve=True)
def calculator(expression: str) -> str:
    "Evaluate arithmetic."
    return "four"
"""
DECLARED = """
from miniagent_redis import ToolRegistry

tools = ToolRegistry()
tools.declare("calculator", "Evaluate arithmetic.",
              {"type": "object", "properties": {"expression": {"type": "string"}}})
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "shop.py"
    path.write_text(SHOP)
    return path


def test_a_yes_runs_the_call_and_anything_else_declines_it(home: Home, shop: Path) -> None:
    done = home.run("chat", "--tools", "shop:tools", typed="What is 2 + 2?\ny\nWhat is 3 + 3?\n\n")
    assert 'Run calculator(expression="2 + 2")? [y/N]' in done.stderr
    assert 'Run calculator(expression="3 + 3")? [y/N]' in done.stderr
    first, second = done.stdout.splitlines()
    assert first == "2 + 2 = four"
    assert "declined" in second


def test_who_leaves_is_asked_again_when_he_comes_back(home: Home, shop: Path) -> None:
    first = home.run("chat", "--tools", "shop:tools", typed="What is 2 + 2?\n")
    assert "The turn waits: resume this session to answer." in first.stderr
    again = home.run("chat", "-c", "--tools", "shop:tools", typed="What is 5 + 5?\ny\nyes\n")
    assert again.stdout == "2 + 2 = four\n5 + 5 = four\n"
    assert "Before that, an earlier turn of this session waits" in again.stderr


def test_a_declared_tool_is_asked_for_its_result(home: Home, shop: Path) -> None:
    shop.write_text(DECLARED)
    done = home.run("chat", "--tools", "shop:tools", typed="What is 2 + 2?\n4, I think\n")
    assert 'What does calculator(expression="2 + 2") give?' in done.stderr
    assert done.stdout == "2 + 2 = 4, I think\n"


@pytest.mark.parametrize("place", ["nowhere:tools", "shop:none", "shop", "shop:tools.x", ":"])
def test_what_names_no_tools_is_told(home: Home, shop: Path, place: str) -> None:
    done = home.run("chat", "--tools", place, typed="hi", code=2)
    assert "names no tools" in done.stderr
