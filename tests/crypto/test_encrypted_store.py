"""An encrypted store: it works as any other, and what was moved in it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import Message, RedisConfig, RedisSessionManager, aio
from miniagent_redis.crypto import EncryptedFormat, EncryptionKeyMissing
from miniagent_redis.errors import InvalidInput, RecordUnreadable
from miniagent_redis.fsck import check
from miniagent_redis.maintenance.spool import Spool
from miniagent_redis.models import UsageTotals
from miniagent_redis.records.format import JsonFormat
from tests.support.keys import NEW, OLD, text
from tests.support.words import OpenStore, call, lines, result, said


@pytest.fixture
def open_store(store_url: str) -> Iterator[OpenStore]:
    """Yield a function that opens a store on the same data, with settings of its own."""
    with ExitStack() as stack:

        def open_it(format: Any = None, **settings: Any) -> RedisSessionManager:
            config = RedisConfig(url=store_url, **settings)
            return stack.enter_context(RedisSessionManager(config, format=format))

        yield open_it


@pytest.fixture
def store(open_store: OpenStore) -> RedisSessionManager:
    store = open_store(encryption_keys=text(old=OLD))
    store.create_session("s", {"a": 1}, user_id="ada")
    turn = store.begin_turn("s", "one", turn_id="t")
    turn = store.stage_step(turn, [call("1"), result("1")])
    store.commit_turn(turn, [said("done")])
    return store


def kinds(store: RedisSessionManager) -> set[str]:
    return {finding.kind for finding in check(store)}


def test_messages_of_another_session_are_refused_and_the_rest_is_read(
    store: RedisSessionManager,
) -> None:
    store.create_session("t")
    store.append_to_thread("t", Message("user", "secret"))
    client: Any = store.client
    client.lset("thread:{s}", 0, client.lindex("thread:{t}", 0))
    [bad] = store.load_thread("s").unreadable
    assert "another session" in bad.reason
    assert lines(store) == ["assistant:", "tool:ok", "assistant:done"]
    assert kinds(store) >= {"unreadable"}


def test_a_document_of_another_session_or_tenant_is_refused(store: RedisSessionManager) -> None:
    store.create_session("t")
    client: Any = store.client
    client.set("session:{t}", client.get("session:{s}"), keepttl=True)
    with pytest.raises(RecordUnreadable, match="another session"):
        store.get_session("t")
    acme = store.tenant("acme")
    acme.create_session("s")
    client.set("acme:session:{s}", client.get("session:{s}"), keepttl=True)
    with pytest.raises(RecordUnreadable, match="namespace"):
        acme.get_session("s")


def test_a_cached_value_of_another_key_is_not_taken(store: RedisSessionManager) -> None:
    store.cache_set("a", "secret")
    store.cache_set("b", "mine")
    client: Any = store.client
    client.set("cache:b", client.get("cache:a"))
    assert store.cache_get("b", "absent") == "absent"


def test_who_has_no_key_or_another_is_told_and_nothing_is_set_aside(
    store: RedisSessionManager, open_store: OpenStore
) -> None:
    for other in (open_store(), open_store(encryption_keys=text(new=NEW))):
        for attempt in (
            lambda store=other: store.load_thread("s"),
            lambda store=other: store.get_session("s"),
            lambda store=other: store.export_thread("s"),
            lambda store=other: store.begin_turn("s", "two"),
        ):
            with pytest.raises(EncryptionKeyMissing, match="'old'"):
                attempt()
        found = [finding for finding in check(other, repair=True) if finding.kind == "no_key"]
        assert {finding.key for finding in found} == {"session:{s}", "thread:{s}"}
        assert "MINIAGENT_ENCRYPTION_KEYS" in found[0].hint
        assert other.stats().unreadable_records == 0
    assert kinds(store) == set()
    assert store.session_state("s").open_turn is None
    assert len(lines(store)) == 4


def test_what_is_no_session_id_is_refused_before_anything_is_encrypted(
    store: RedisSessionManager,
) -> None:
    nothing: Any = None
    with pytest.raises(InvalidInput, match="session id"):
        store.append_to_thread(nothing, Message("user", "x"))
    with pytest.raises(InvalidInput):
        store.cache_set(nothing, 1)


def test_what_was_stored_before_there_were_keys_is_read_when_that_is_asked_for(
    open_store: OpenStore,
) -> None:
    plain = open_store()
    plain.create_session("s")
    plain.append_to_thread("s", Message("user", "plain"))
    strict = open_store(encryption_keys=text(k=OLD))
    assert "not encrypted" in strict.load_thread("s").unreadable[0].reason
    both = open_store(EncryptedFormat({"k": OLD}, reads_plain=True))
    both.append_to_thread("s", Message("user", "sealed"))
    assert lines(both) == ["user:plain", "user:sealed"]


def test_a_thread_moves_to_an_encrypted_store_by_export_and_import(
    store: RedisSessionManager, open_store: OpenStore
) -> None:
    header, *messages = store.export_thread("s")
    assert header["data"] == {"a": 1}
    rotated = open_store(encryption_keys=text(new=NEW, old=OLD))
    rotated.create_session("copy")
    rotated.copy_thread("s", "copy")
    records: Any = store.client.lrange("thread:{copy}", 0, -1)
    assert records
    assert all(record.startswith(b"enc1:new:") for record in records)
    assert lines(rotated, "copy") == lines(store)
    assert len(messages) == 4


def test_a_spooled_turn_waits_for_its_key(
    store: RedisSessionManager, open_store: OpenStore, tmp_path: Path, caplog: Any
) -> None:
    turn = store.begin_turn("s", "two")
    Spool(tmp_path, store.parts).keep(turn, [said("spooled")], UsageTotals())
    [file] = tmp_path.iterdir()
    assert b"spooled" not in file.read_bytes()
    other = Spool(tmp_path, open_store(encryption_keys=text(new=NEW)).parts)
    assert other.replay() == 0
    assert "encrypted with the key 'old'" in caplog.text
    assert other.backlog().waiting == 1
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert Spool(tmp_path, store.parts).replay() == 1
    assert lines(store)[-2:] == ["user:two", "assistant:spooled"]


def test_keys_beside_another_format_are_a_contradiction(open_store: OpenStore) -> None:
    with pytest.raises(InvalidInput, match="does not encrypt"):
        open_store(JsonFormat(), encryption_keys=text(k=OLD))
    form = EncryptedFormat({"own": NEW})
    own = open_store(form, encryption_keys=text(k=OLD))
    assert own.parts.core.format is form


class Own(RedisSessionManager):
    def serialize(self, data: Any) -> bytes:
        return repr(data).encode()


def test_keys_beside_a_format_of_a_subclass_are_refused() -> None:
    with pytest.raises(InvalidInput, match="format"):
        Own(RedisConfig(url="memory://", encryption_keys=text(k=OLD)))


async def _stored_by_asyncio(config: RedisConfig) -> list[Any]:
    async with aio.RedisSessionManager(config) as store:
        await store.create_session("s", {"a": "secret"})
        assert await store.get_session("s") == {"a": "secret"}
        return [store.sync.client.get("session:{s}")]


def test_asyncio_takes_the_same_setting(store_url: str) -> None:
    import asyncio

    config = RedisConfig(url=store_url, encryption_keys=text(k=OLD))
    [record] = asyncio.run(_stored_by_asyncio(config))
    assert record.startswith(b"enc1:k:")
