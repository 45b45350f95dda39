"""Golden records: what earlier versions stored is read for ever. See tests/golden/README.md."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import asdict

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.llm import Block, Reply
from miniagent_redis.maintenance.spool import Spool
from miniagent_redis.maintenance.spool_file import SpooledTurn
from miniagent_redis.models import Message, OpenTurn, ToolCall, Usage, UsageTotals
from miniagent_redis.records.converter import converter
from miniagent_redis.records.format import JsonFormat, Where
from miniagent_redis.records.frame import SCHEMA
from miniagent_redis.records.messages import message_from_data, message_to_data
from tests.support.anything import same

GOLDEN = Path(__file__).parents[1] / "golden"
SCHEMAS = range(1, SCHEMA + 1)
KINDS = ("message", "session", "event", "cache")
FORMAT = JsonFormat()


def rows(name: str) -> list[Any]:
    return [
        pytest.param(schema, row, id=f"{schema}-{row['name']}")
        for schema in SCHEMAS
        for row in map(json.loads, (GOLDEN / f"schema-{schema}" / name).read_text().splitlines())
    ]


RECORDS = [
    pytest.param(kind, *row.values, id=f"{kind}-{row.id}")
    for kind in KINDS
    for row in rows(f"{kind}.jsonl")
]


def all_fields(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(asdict(message)))
    return found


def rebuilt(fields: dict[str, Any]) -> Message:
    calls = tuple(ToolCall(**call) for call in fields["tool_calls"])
    return Message(**{**fields, "tool_calls": calls})


@pytest.mark.parametrize(("kind", "schema", "row"), RECORDS)
def test_a_record_is_read_as_what_it_was(kind: str, schema: int, row: dict[str, Any]) -> None:
    where = Where(kind, "s")
    for record in row["record"].values():
        found = FORMAT.decode(record.encode(), where)
        [many] = FORMAT.decode_many([record.encode()], where)
        assert same(many, found)
        if kind == "message":
            found = all_fields(message_from_data(found))
        assert same(found, row["expected"])


@pytest.mark.parametrize(("kind", "schema", "row"), RECORDS)
def test_a_record_of_todays_schema_is_written_byte_by_byte_as_before(
    kind: str, schema: int, row: dict[str, Any], encoder: str
) -> None:
    if schema < SCHEMA:
        pytest.skip("it is written in a later schema now")
    data = row["expected"]
    if kind == "message":
        data = message_to_data(rebuilt(data))
        if row["name"] == "a whole number of seconds":
            data["created_at"] = int(data["created_at"])
    assert FORMAT.encode(data, Where(kind, "s")).decode() == row["record"][encoder]


def test_a_cached_reply_of_a_model_is_the_reply_it_was() -> None:
    cached = {row.values[1]["name"]: row.values[1]["expected"] for row in rows("cache.jsonl")}
    assert converter.structure(cached["a model's plain reply"]["value"], Reply) == Reply("Hi")
    assert converter.structure(cached["a model's reply"]["value"], Reply) == Reply(
        "It is warm.",
        (
            ToolCall("call_1", "weather", {"city": "Bern"}),
            ToolCall("call_2", "now", {}, {"index": 1}),
        ),
        Usage(10, 5, 2),
        "tool_calls",
        (Block("anthropic", {"signature": "abc"}),),
    )


@pytest.mark.parametrize(("schema", "row"), rows("spool.jsonl"))
def test_a_spooled_turn_is_read_as_what_it_was(
    schema: int, row: dict[str, Any], tmp_path: Path
) -> None:
    name = row["file"]
    shutil.copy(GOLDEN / f"schema-{schema}" / "spool" / name, tmp_path / name)
    stored: list[tuple[OpenTurn, UsageTotals]] = []

    def replay_turn(turn: OpenTurn, *, spent: UsageTotals, staged: int) -> int:
        assert staged == len(turn.staged) - 1
        stored.append((turn, spent))
        return 10

    config = RedisConfig(url="redis://golden:6379/0", namespace=row["namespace"])
    connections = SimpleNamespace(availability=SimpleNamespace(is_down=False))
    core = SimpleNamespace(config=config, format=FORMAT, connections=connections)
    parts: Any = SimpleNamespace(core=core, storing=SimpleNamespace(replay_turn=replay_turn))
    told: list[SpooledTurn] = []
    spool = Spool(tmp_path, parts, lambda spooled, end: told.append(spooled))
    assert spool.backlog().waiting == 1
    assert spool.replay("another session") == 0
    assert spool.replay() == 1
    assert not list(tmp_path.iterdir())

    [(turn, spent)] = stored
    found = {
        "session_id": turn.session_id,
        "user_id": turn.user_id,
        "turn_id": turn.turn_id,
        "holder": turn.holder,
        "epoch": turn.thread.epoch,
        "version": turn.thread.version,
        "messages": [all_fields(message) for message in turn.staged],
    }
    expected = dict(row["expected"])
    assert spent == UsageTotals(**expected.pop("spent"))
    assert same(found, {name: expected[name] for name in found})
    assert found.keys() == expected.keys()
    assert [(each.turn, each.spent) for each in told] == [(turn, spent)]


def test_there_are_golden_records_of_each_schema_and_kind() -> None:
    folders = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
    assert folders == sorted(f"schema-{schema}" for schema in SCHEMAS)
    for folder in folders:
        here = GOLDEN / folder
        assert {path.stem for path in here.glob("*.jsonl")} >= {*KINDS, "spool"}
        spooled = [
            json.loads(line)["file"] for line in (here / "spool.jsonl").read_text().splitlines()
        ]
        assert sorted(spooled) == sorted(path.name for path in (here / "spool").iterdir())
