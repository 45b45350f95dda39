"""``serve --read-only``: every door shows what is there, and none changes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("flask")
pytest.importorskip("waitress")

from flask import Flask

from miniagent_redis.flask import MiniAgent
from tests.support.served import READS, Filled, app_of, asked, filled_store, routes
from tests.support.stored import dump

LOGIN = "miniagent_console.login"  # a browser's, which changes nothing that is stored


@pytest.fixture
def filled(redis_url: str) -> Iterator[Filled]:
    with filled_store(redis_url) as found:
        yield found


def stored(app: Flask, agents: MiniAgent) -> dict[str, object]:
    with app.app_context():
        found = dump(agents.store.client)
    return {key: kept for key, kept in found.items() if "hooks" not in key and "lock" not in key}


def test_every_route_that_changes_something_is_403_in_the_form_of_its_door(filled: Filled) -> None:
    app = app_of(filled.agents, read_only=True)
    before = stored(app, filled.agents)
    refused: dict[str, int] = {}
    for method, rule in routes(app):
        if method in READS or rule.endpoint == LOGIN:
            continue
        answer = asked(app, rule, method, filled)
        told: Any = answer.get_json(silent=True)
        door = rule.endpoint.partition(".")[0]
        assert answer.status_code == 403, (method, rule)
        match door:
            case "miniagent_openai":
                assert told["error"]["type"] == "permission_error"
                assert told["error"]["code"] == "read_only"
            case "miniagent_front_ends":
                assert answer.mimetype == "application/problem+json"
                assert told["code"] == "read_only"
            case "miniagent_console":
                assert "This is read-only" in answer.text
            case _:
                pytest.fail(f"no test knows the door of {rule}")
        refused[door] = refused.get(door, 0) + 1
    assert min(refused.values()) >= 3
    assert len(refused) == 3
    assert stored(app, filled.agents) == before


def test_every_route_that_reads_is_there_and_leaves_all_as_it_is(filled: Filled) -> None:
    app = app_of(filled.agents, read_only=True)
    before = stored(app, filled.agents)
    # Of deeds, of nothing, of all users, and methods that a path does not have.
    not_told = re.compile(r"\.(confirm|nothing|usage_by_day|other_.*)$")
    for method, rule in routes(app):
        if method in READS and not not_told.search(rule.endpoint):
            assert asked(app, rule, method, filled).status_code < 400, (method, rule)
    assert stored(app, filled.agents) == before


def test_without_it_none_is_refused_so(filled: Filled) -> None:
    app = app_of(filled.agents, read_only=False)
    for method, rule in routes(app):
        if method not in READS:
            assert asked(app, rule, method, filled).status_code != 403, (method, rule)
