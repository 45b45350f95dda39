"""The spool in the store's own format, of earlier versions and of later ones."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from miniagent_redis import RedisConfig, RedisSessionManager, ToolCall, UsageTotals
from miniagent_redis.maintenance.spool import Spool
from miniagent_redis.models import Message, OpenTurn
from miniagent_redis.records import frame
from miniagent_redis.records.frame import UPCASTERS, encode
from miniagent_redis.records.json import Json
from miniagent_redis.records.messages import message_to_data

SPENT = UsageTotals(
    turns=1, input_tokens=10, output_tokens=5, cached_tokens=2, tool_calls=1, seconds=1.5, cost=0.25
)
SECRET = "opensesame"
STEPS = [
    Message("assistant", SECRET, (ToolCall("1", SECRET, {SECRET: [SECRET]}),), id="2"),
    Message("tool", SECRET, tool_call_id="1", id="3", metadata={SECRET: 1}),
    Message("assistant", f"{SECRET} \ud800\n", id="4"),
]


class Zipped(RedisSessionManager):
    """Compresses; as a stand-in for encryption, nothing readable may be left on disk."""

    def serialize(self, data: Any) -> bytes:
        return zlib.compress(json.dumps(data).encode())

    def deserialize(self, data: bytes) -> Any:
        return json.loads(zlib.decompress(data))


@pytest.fixture(params=[RedisSessionManager, Zipped], ids=["json", "zipped"])
def store(request: pytest.FixtureRequest, store_url: str) -> Iterator[RedisSessionManager]:
    kind: type[RedisSessionManager] = request.param
    with kind(RedisConfig(url=store_url)) as opened:
        opened.create_session("s", user_id=SECRET)
        yield opened


@pytest.fixture
def spool(store: RedisSessionManager, tmp_path: Path) -> Spool:
    return Spool(tmp_path, store.parts)


def begin(store: RedisSessionManager, text: str = SECRET) -> OpenTurn:
    return store.begin_turn("s", Message("user", text, id="1"))


def said(store: RedisSessionManager) -> list[Message]:
    return [evolve(m, created_at=0.0, turn_id=None) for m in store.load_thread("s").messages]


def write_as_before(
    store: RedisSessionManager, folder: Path, turn: OpenTurn, **more_spent: int
) -> None:
    """Write the turn as versions did that kept one JSON record, whatever the store's format."""
    data: Json = {
        "v": 1,
        "store": str(store.config.address),
        "session_id": turn.session_id,
        "user_id": turn.user_id,
        "turn_id": turn.turn_id,
        "holder": turn.holder,
        "epoch": turn.thread.epoch,
        "version": turn.thread.version,
        "input_tokens": 10,
        "output_tokens": 5,
        "tool_calls": 1,
        "spent": {"turns": 1, "cached_tokens": 2, "seconds": 1.5, "cost": 0.25, **more_spent},
        "messages": [{"v": 1, **message_to_data(m)} for m in (*turn.staged, *STEPS)],
    }
    (folder / f"00000000000000000001-{turn.holder}.turn").write_bytes(encode(data))


def test_a_turn_comes_back_from_the_spool_as_it_was(
    store: RedisSessionManager, spool: Spool
) -> None:
    turn = begin(store)
    spool.keep(turn, STEPS, SPENT)
    assert spool.backlog().waiting == 1
    assert spool.replay() == 1
    assert said(store) == [Message("user", SECRET, id="1"), *STEPS]
    assert store.usage(session_id="s") == SPENT
    assert spool.backlog().waiting == 0


def test_nothing_that_was_said_is_readable_on_disk_if_it_is_not_in_redis(
    store: RedisSessionManager, spool: Spool
) -> None:
    spool.keep(begin(store), STEPS, SPENT)
    [path] = spool.folder.iterdir()
    is_readable = SECRET.encode() in path.read_bytes()
    assert is_readable is not isinstance(store, Zipped)


def test_a_file_of_an_earlier_version_is_stored_as_before(
    store: RedisSessionManager, spool: Spool
) -> None:
    write_as_before(store, spool.folder, begin(store))
    assert spool.backlog().waiting == 1
    assert spool.replay() == 1
    assert said(store) == [Message("user", SECRET, id="1"), *STEPS]
    assert store.usage(session_id="s") == SPENT


def test_a_turn_that_this_format_cannot_read_is_set_aside_and_the_next_one_stored(
    store: RedisSessionManager, spool: Spool
) -> None:
    other_kind = RedisSessionManager if isinstance(store, Zipped) else Zipped
    other = other_kind(store.config)
    Spool(spool.folder, other.parts).keep(begin(store), STEPS, SPENT)
    [foreign] = spool.folder.iterdir()
    content = foreign.read_bytes()
    spool.keep(store.begin_turn("s", "again", on_busy="interrupt"), [STEPS[-1]], UsageTotals())
    assert spool.backlog().waiting == 2
    assert foreign.exists()  # looking alone moves nothing: the doctor knows no format
    assert spool.replay() == 1
    [aside] = spool.backlog().set_aside
    assert (aside.stem, aside.read_bytes()) == (foreign.stem, content)


@pytest.mark.parametrize("part", ["head", "turn", "message"])
def test_each_torn_part_of_a_file_is_noticed(
    store: RedisSessionManager, spool: Spool, part: str
) -> None:
    spool.keep(begin(store), STEPS, SPENT)
    [path] = spool.folder.iterdir()
    content = path.read_bytes()
    at = {"head": 20, "turn": content.index(b"\n") + 10, "message": len(content) - 5}[part]
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert spool.replay() == 0
    assert len(spool.backlog().set_aside) == 1
    assert said(store) == []


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_file_that_was_cut_short_is_set_aside(
    store: RedisSessionManager, spool: Spool, cut: int
) -> None:
    spool.keep(begin(store), STEPS, SPENT)
    [path] = spool.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert spool.replay() == 0
    assert len(spool.backlog().set_aside) == 1


def test_a_turn_of_a_later_version_waits(
    store: RedisSessionManager, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = begin(store)
    with monkeypatch.context() as later:
        later.setattr(frame, "SCHEMA", 2)
        spool.keep(turn, STEPS, SPENT)
    assert spool.replay() == 0
    assert len([*spool.folder.glob("*.turn")]) == 1
    assert spool.backlog().set_aside == ()


@pytest.mark.parametrize("how", ["before", "now"])
def test_a_turn_of_an_older_schema_is_brought_to_that_of_today(
    store: RedisSessionManager, spool: Spool, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    turn = begin(store)
    if how == "before":
        write_as_before(store, spool.folder, turn)
    else:
        spool.keep(turn, STEPS, SPENT)

    def noted(kind: str) -> Any:
        def step(data: Json) -> Json:
            seen.append(kind)
            return data

        return step

    seen: list[str] = []
    monkeypatch.setattr(frame, "SCHEMA", 2)
    for kind in ("spool", "turn", "message"):
        monkeypatch.setitem(UPCASTERS, (kind, 1), noted(kind))
    assert spool.replay() == 1
    outside = [] if how == "before" else ["spool"]
    assert seen == [*outside, "turn", *["message"] * 4]


def test_amounts_that_only_a_later_version_knows_hold_no_turn_up(
    store: RedisSessionManager, spool: Spool
) -> None:
    write_as_before(store, spool.folder, begin(store), tokens_of_dreams=9)
    assert spool.replay() == 1
    assert store.usage(session_id="s") == SPENT
