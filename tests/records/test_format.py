"""Formats: which one a store has, what each may hold, and how older and newer records are met."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput, SchemaTooNew, SessionNotFound
from miniagent_redis.records import frame
from miniagent_redis.records.format import (
    JsonFormat,
    OwnFormat,
    RecordFormat,
    Where,
    choose_format,
)
from miniagent_redis.records.frame import UPCASTERS, Unreadable
from miniagent_redis.records.json import Json

KINDS = ["session", "message", "event", "cache", "turn"]
FORMATS: list[RecordFormat] = [
    JsonFormat(),
    OwnFormat(lambda data: json.dumps(data).encode(), json.loads),
]
each_format = pytest.mark.parametrize("form", FORMATS, ids=["JsonFormat", "OwnFormat"])
each_kind = pytest.mark.parametrize("kind", KINDS)


def of_schema(form: RecordFormat, schema: object, data: Json) -> bytes:
    """Return a record as a version with that schema writes it."""
    if isinstance(form, JsonFormat):
        return frame.encode({"v": schema, **data})
    return json.dumps({"v": schema, **data}).encode()


@each_format
def test_what_was_encoded_is_decoded_and_nothing_is_added(form: RecordFormat) -> None:
    where, data = Where("cache", "k"), {"value": [1, None], "crc": 5}
    data.pop("crc")
    record = form.encode(data, where)
    assert form.decode(record, where) == data
    assert form.decode_many([record, record], where) == [data, data]
    assert data == {"value": [1, None]}


@each_format
@each_kind
def test_older_records_of_each_kind_are_brought_to_the_schema_of_today_step_by_step(
    form: RecordFormat, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it will be two schemas on: a member was renamed, then one was added."""

    def renamed(data: Json) -> Json:
        return {"new": data.pop("old"), **data}

    monkeypatch.setattr(frame, "SCHEMA", 3)
    monkeypatch.setitem(UPCASTERS, (kind, 1), renamed)
    monkeypatch.setitem(UPCASTERS, (kind, 2), lambda data: {**data, "more": True})
    monkeypatch.setitem(UPCASTERS, ("another kind", 1), lambda data: {})
    where = Where(kind, "s")
    today = {"new": 1, "more": True}
    records = [
        of_schema(form, 1, {"old": 1}),
        of_schema(form, 2, {"new": 1}),
        form.encode(today, where),
    ]
    assert [form.decode(record, where) for record in records] == [today] * 3
    assert form.decode_many(records, where) == [today] * 3
    torn = of_schema(form, 1, {"without": "the member"})
    with pytest.raises(Unreadable, match="schema 1"):
        form.decode(torn, where)
    found = form.decode_many([records[0], torn], where)
    assert found[0] == today
    assert isinstance(found[1], Unreadable)


@each_format
@each_kind
def test_a_kind_that_has_not_changed_needs_no_step(
    form: RecordFormat, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "SCHEMA", 5)
    assert form.decode(of_schema(form, 1, {"a": 1}), Where(kind, "s")) == {"a": 1}


@each_format
@pytest.mark.parametrize("schema", [2, 99, 2**70])
def test_a_newer_schema_is_refused_with_its_number(form: RecordFormat, schema: int) -> None:
    record, where = of_schema(form, schema, {"a": 1}), Where("message", "s")
    decodes: list[Callable[[], object]] = [
        lambda: form.decode(record, where),
        lambda: form.decode_many([record], where),
    ]
    for decode in decodes:
        with pytest.raises(SchemaTooNew, match="upgrade miniagent-redis") as caught:
            decode()
        assert caught.value.found == schema
        assert "a message of session 's'" in caught.value.problem


@each_format
@pytest.mark.parametrize("schema", [None, 0, -1, "1", 1.0, True, [1]])
def test_a_record_without_a_schema_number_is_unreadable(form: RecordFormat, schema: object) -> None:
    record, where = of_schema(form, schema, {"a": 1}), Where("message", "s")
    with pytest.raises(Unreadable, match="schema number"):
        form.decode(record, where)
    [found] = form.decode_many([record], where)
    assert isinstance(found, Unreadable)


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (Where("session", "s"), "session 's'"),
        (Where("cache", "k"), "the cache entry 'k'"),
        (Where("receipt", "r"), "receipt 'r'"),
    ],
)
def test_a_place_says_what_is_there(where: Where, name: str) -> None:
    assert str(where) == name


# --- formats of the user's own ------------------------------------------------------------------


def test_an_own_format_gets_the_schema_number_and_may_return_it_as_it_likes() -> None:
    seen: list[Any] = []

    def serialize(data: Any) -> bytes:
        seen.append(data)
        return b"x"

    form = OwnFormat(serialize, lambda raw: dict(reversed(seen[0].items())))
    where = Where("event", "s")
    assert form.decode(form.encode({"a": {1, 2}}, where), where) == {"a": {1, 2}}
    assert seen == [{"v": frame.SCHEMA, "a": {1, 2}}]
    assert form.decode(b"x", where) == {"a": {1, 2}}  # what the functions keep is not changed


@pytest.mark.parametrize("error", [TypeError, ValueError, OverflowError, RecursionError])
def test_what_an_own_format_cannot_store_is_bad_input(error: type[Exception]) -> None:
    def serialize(data: Any) -> bytes:
        raise error("no room for a set")

    with pytest.raises(InvalidInput, match="serialize") as caught:
        OwnFormat(serialize, json.loads).encode({}, Where("cache", "k"))
    assert "the cache entry 'k'" in caught.value.problem
    assert "no room for a set" in caught.value.cause


def test_an_own_formats_other_errors_are_its_own() -> None:
    def serialize(data: Any) -> bytes:
        raise SessionNotFound("s")

    with pytest.raises(SessionNotFound):
        OwnFormat(serialize, json.loads).encode({}, Where("cache", "k"))


def test_an_error_that_was_thrown_into_an_own_format_is_not_taken_for_damage() -> None:
    class TimeIsUp(Exception):
        """As job runners throw it from a signal handler, wherever the program is."""

    thrown: list[TimeIsUp] = [TimeIsUp()]

    def deserialize(raw: bytes) -> Any:
        if thrown:
            raise thrown.pop()
        return json.loads(raw)

    form = OwnFormat(lambda data: json.dumps(data), deserialize)
    where = Where("message", "s")
    record = form.encode({"a": 1}, where)
    with pytest.raises(TimeIsUp):
        form.decode_many([record], where)
    assert form.decode(record, where) == {"a": 1}


# --- which format a store has -------------------------------------------------------------------


class Base:
    def serialize(self, data: Any) -> bytes:
        return b""

    def deserialize(self, data: bytes) -> Any:
        return {}


class Overriding(Base):
    def deserialize(self, data: bytes) -> Any:
        return {"v": 1, "mine": True}


def test_the_format_is_the_one_handed_in_or_that_of_the_class_or_json() -> None:
    mine = FORMATS[1]
    assert isinstance(choose_format(Base(), Base, None), JsonFormat)
    assert choose_format(Base(), Base, mine) is mine
    own = choose_format(Overriding(), Base, None)
    assert own.decode(b"", Where("cache", "k")) == {"mine": True}
    with pytest.raises(InvalidInput, match="Overriding has a format of its own"):
        choose_format(Overriding(), Base, mine)
