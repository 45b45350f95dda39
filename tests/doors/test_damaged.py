"""What is stored may be damaged, or newer: each route says so in its own way, and none is 500."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("flask")
pytest.importorskip("waitress")

from miniagent_redis.records.frame import encode
from tests.support.served import HEADERS, Filled, app_of, asked, filled_store, routes

NEWER = encode({"v": 99, "role": "user", "content": "x"})
RECORDS = [b"garbage", b"\xff\xfe\x00", b"", b"[1]", b'{"v":1,"role":7,"content":{}}', NEWER]
STREAMS = (".stream", ".events", ".resume")  # of turns of which nothing is known they wait
Damage = Callable[[Any, bytes], object]


def with_record(record: bytes) -> Damage:
    """Return what puts a record in the place of each that there is."""

    def damage(client: Any, key: bytes) -> None:
        match client.type(key):
            case b"string":
                client.set(key, record)
            case b"list":
                for index in range(client.llen(key)):
                    client.lset(key, index, record)
            case b"hash":
                for name in client.hkeys(key):
                    client.hset(key, name, record)

    return damage


def in_place(client: Any, key: bytes, put: Callable[[], object]) -> None:
    client.delete(key)
    put()


DAMAGES: list[Damage] = [
    *map(with_record, RECORDS),
    lambda client, key: client.delete(key),
    lambda client, key: in_place(client, key, lambda: client.set(key, b"garbage")),
    lambda client, key: in_place(client, key, lambda: client.rpush(key, b"garbage")),
    lambda client, key: in_place(client, key, lambda: client.hset(key, "f", b"garbage")),
    lambda client, key: in_place(client, key, lambda: client.zadd(key, {"garbage": 1})),
    lambda client, key: in_place(client, key, lambda: client.xadd(key, {"f": "garbage"})),
]
KEYS = ["session", "thread", "turn", "metadata", "ops", "events", "user", "usage", "waiting"]


@pytest.fixture
def filled(redis_url: str) -> Iterator[Filled]:
    with filled_store(redis_url) as found:
        yield found


@pytest.mark.parametrize("kind", KEYS)
def test_no_route_is_500_whatever_is_stored(kind: str, filled: Filled) -> None:
    app = app_of(filled.agents, read_only=False)
    with app.app_context():
        client: Any = filled.agents.store.client
    whole = {key: client.dump(key) for key in client.keys("*")}
    damaged = [key for key in whole if key.decode().split(":")[0] == kind]
    assert damaged
    told = set()
    for key in damaged:
        for number, damage in enumerate(DAMAGES):
            client.flushdb()
            for name, value in whole.items():
                client.restore(name, 0, value)
            damage(client, key)
            for method, rule in routes(app):
                if method == "GET" and not rule.endpoint.endswith(STREAMS):
                    answer = asked(app, rule, method, filled)
                    assert answer.status_code != 500, (key, number, rule, answer.text)
                    told.add(answer.status_code)
    assert told >= {200, 404}


@pytest.fixture
def export(filled: Filled) -> Callable[[], Any]:
    app = app_of(filled.agents, read_only=False)

    def get() -> Any:
        url = f"/session/export?id={filled.known['session']}"
        return app.test_client().get(url, headers=HEADERS)

    return get


@pytest.fixture
def client(filled: Filled) -> Any:
    app = app_of(filled.agents, read_only=False)
    with app.app_context():
        return filled.agents.store.client


def test_an_export_has_what_can_be_read_and_says_what_cannot(
    filled: Filled, export: Callable[[], Any], client: Any
) -> None:
    whole = [json.loads(line) for line in export().text.splitlines()]
    (key,) = client.keys("thread:*")
    client.lset(key, 0, b"gar\xffbage")
    header, broken, kept = map(json.loads, export().text.splitlines())
    assert header["whole"] is False
    assert "whole" not in whole[0]
    assert header["session_id"] == filled.known["session"]
    assert (broken["kind"], broken["index"], broken["stored"]) == ("unreadable", 0, r"gar\xffbage")
    assert broken["why"]
    assert kept == whole[2]


def test_an_export_of_a_thread_whose_end_is_lost_tells_its_records(
    export: Callable[[], Any], client: Any
) -> None:
    (key,) = client.keys("thread:*")
    client.rpop(key)
    header, first = map(json.loads, export().text.splitlines())
    assert header["whole"] is False
    assert "gone" in header["why"]
    assert (first["kind"], first["index"]) == ("unreadable", 0)
    assert "Hello" in first["stored"]


def test_an_export_of_what_is_no_session_is_a_page_that_says_so(
    export: Callable[[], Any], client: Any
) -> None:
    (key,) = client.keys("session:*")
    client.set(key, b"garbage")
    assert "This session cannot be read" in export().text
    client.delete(key)
    client.rpush(key, b"garbage")
    assert "This session cannot be read" in export().text


@pytest.mark.parametrize("kind", ["session", "thread", "metadata"])
def test_another_type_of_value_is_told_as_what_cannot_be_read(
    filled: Filled, client: Any, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    app = app_of(filled.agents, read_only=False)
    (key,) = client.keys(f"{kind}:*")
    in_place(client, key, lambda: client.sadd(key, b"mine"))
    for path in ("/v1/conversations/{conversation}/items", "/v1/responses/{response_id}"):
        caplog.clear()
        answer = app.test_client().get(path.format(**filled.known), headers=HEADERS)
        told: Any = answer.json
        assert (answer.status_code, told["error"]["code"]) == (422, "record_unreadable"), path
        assert "holds" in caplog.text, "who runs it is told what to do"
    answer = app.test_client().get(f"/api/chat/{filled.known['chat_id']}", headers=HEADERS)
    told = answer.json
    assert (answer.status_code, told["code"]) == (422, "record_unreadable")
    body = {"model": "helper", "input": "more", "conversation": filled.known["conversation"]}
    answer = app.test_client().post("/v1/responses", json=body, headers=HEADERS)
    assert answer.status_code == 422
    assert client.smembers(key) == {b"mine"}


def test_a_newer_schema_is_told_as_one_that_another_instance_may_know(
    filled: Filled, client: Any
) -> None:
    app = app_of(filled.agents, read_only=False)
    (key,) = client.keys("session:*")
    client.set(key, NEWER)
    url = f"/v1/conversations/{filled.known['conversation']}"
    answer = app.test_client().get(url, headers=HEADERS)
    told: Any = answer.json
    assert (answer.status_code, told["error"]["code"]) == (503, "schema_too_new")
    assert answer.headers["Retry-After"]
    client.set(key, b"garbage")
    answer = app.test_client().get(url, headers=HEADERS)
    told = answer.json
    assert (answer.status_code, told["error"]["code"]) == (422, "record_unreadable")
