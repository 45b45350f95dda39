"""Going back, titles and search, in the chat and outside."""

from __future__ import annotations

import json

from miniagent_redis import SessionManager
from tests.support.command_line import Home


def said(manager: SessionManager, session_id: str) -> list[str]:
    return [m["content"] for m in manager.get_history(session_id) if m["role"] == "user"]


def test_a_chat_goes_back_and_keeps_what_was_said(home: Home, manager: SessionManager) -> None:
    lines = ["What is 1 + 1?", "What is 2 + 2?", "/edit What is 3 + 3?", "/regenerate"]
    done = home.run("chat", typed="\n".join(lines))
    assert done.stdout.splitlines() == ["1 + 1 = 2", "2 + 2 = 4", "3 + 3 = 6", "3 + 3 = 6"]
    assert done.stderr.count("What was said is kept as session") == 2
    sessions = manager.list_sessions("ada")
    (session,) = [each for each in sessions if each["forked_from"] is None]
    assert said(manager, session["session_id"]) == ["What is 1 + 1?", "What is 3 + 3?"]
    kept = [said(manager, each["session_id"]) for each in sessions if each["forked_from"]]
    assert ["What is 1 + 1?", "What is 2 + 2?"] in kept


def test_a_chat_is_rewound_and_forked(home: Home, manager: SessionManager) -> None:
    lines = ["What is 1 + 1?", "What is 2 + 2?", "/fork 1", "What is 5 + 5?", "/rewind 2"]
    home.run("chat", typed="\n".join(lines))
    sessions = manager.list_sessions("ada")
    (origin,) = [each["session_id"] for each in sessions if each["forked_from"] is None]
    assert said(manager, origin) == ["What is 1 + 1?", "What is 2 + 2?"]
    ((branch),) = [each["session_id"] for each in manager.list_branches(origin)]
    assert said(manager, branch) == []
    ((kept),) = [each["session_id"] for each in manager.list_branches(branch)]
    assert said(manager, kept) == ["What is 1 + 1?", "What is 5 + 5?"]


def test_who_goes_back_too_far_is_told(home: Home, manager: SessionManager) -> None:
    for line in ("/rewind", "/fork", "/regenerate"):
        assert "Nothing has been said" in home.run("chat", typed=line).stderr
    assert "once something was said" in home.run("chat", typed="/title x").stderr
    done = home.run("chat", typed="What is 1 + 1?\n/rewind 2", code=1)
    assert "you cannot go back by 2 messages" in done.stderr
    assert len(manager.list_sessions("ada")) == 1


def test_titles_and_words_are_shown(home: Home, manager: SessionManager) -> None:
    done = home.run("chat", typed="What is 1 + 1?\n/title Sums\n/search what 1\n/search zebra")
    assert "user  What is 1 + 1?" in done.stdout
    assert "Nothing that was said has these words." in done.stderr
    assert "Sums" in home.run("list").stdout
    assert "user  What is 1 + 1?" in home.run("search", "WHAT", "1").stdout
    (hit,) = json.loads(home.run("search", "what", "--json").stdout)
    assert hit["snippet"] == "What is 1 + 1?"
    assert home.run("search", "what", "--user", "eve").stdout == ""
