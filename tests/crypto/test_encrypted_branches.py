"""Branches, titles and search of an encrypted store: each record is bound to its own place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from miniagent_redis.crypto import EncryptionKeyMissing
from miniagent_redis.fsck import check
from tests.support.keys import NEW, OLD, text
from tests.support.stored import dump
from tests.support.words import OpenStore, call, lines, result, said

LINES = ["user:the secret", "assistant:", "tool:ok", "assistant:fine"]


@pytest.fixture
def open_store(store_url: str) -> Iterator[OpenStore]:
    with ExitStack() as stack:

        def open_it(kind: Any = RedisSessionManager, **settings: Any) -> RedisSessionManager:
            store: RedisSessionManager = kind(RedisConfig(url=store_url, **settings))
            return stack.enter_context(store)

        yield open_it


def fill(store: RedisSessionManager) -> None:
    store.create_session("s", {"a": 1}, user_id="ada")
    turn = store.begin_turn("s", "the secret", turn_id="t")
    turn = store.stage_step(turn, [call("1"), result("1")])
    store.commit_turn(turn, [said("fine")])


def use(store: RedisSessionManager) -> None:
    """Go back, give a title and search, as anybody would."""
    fill(store)
    assert store.set_title("s", "of the secret")
    branch = store.fork_session("s", "t")
    kept = store.rewind("s", "t", before=True)
    assert kept
    assert lines(store) == []
    assert lines(store, branch) == lines(store, kept) == LINES
    listed = store.list_branches("s")
    assert [each["session_id"] for each in listed] == [kept, branch]
    assert {each["title"] for each in listed} == {"of the secret"}
    found = store.search("SECRET", "ada")
    assert {each["session_id"] for each in found} == {branch, kept}
    assert found[0]["snippet"] == "the secret"
    assert check(store) == []


def test_all_of_it_works_and_nothing_can_be_read_in_redis(open_store: OpenStore) -> None:
    store = open_store(encryption_keys=text(old=OLD))
    use(store)
    assert "secret" not in repr(dump(store.client))


def test_all_of_it_works_in_a_tenant_s_namespace(open_store: OpenStore) -> None:
    store = open_store(encryption_keys=text(old=OLD)).tenant("acme")
    use(store)
    assert all(key.startswith("acme:") for key in dump(store.client))


class Reversed(RedisSessionManager):
    """A format of somebody's own."""

    def serialize(self, data: Any) -> bytes:
        return json.dumps(data).encode()[::-1]

    def deserialize(self, data: bytes) -> Any:
        return json.loads(data[::-1])


def test_all_of_it_works_with_a_format_of_ones_own(open_store: OpenStore) -> None:
    use(open_store(Reversed))


def test_keys_may_change_between_the_origin_and_the_branch(open_store: OpenStore) -> None:
    fill(open_store(encryption_keys=text(old=OLD)))
    store = open_store(encryption_keys=text(new=NEW, old=OLD))
    branch = store.fork_session("s")
    only_new = open_store(encryption_keys=text(new=NEW))
    assert lines(only_new, branch) == LINES
    found = only_new.search("secret", "ada")
    assert {each["session_id"] for each in found} == {branch}  # the other cannot be read here


def test_without_the_key_nothing_is_copied_and_titles_are_not_told(open_store: OpenStore) -> None:
    store = open_store(encryption_keys=text(old=OLD))
    fill(store)
    store.set_title("s", "of the secret")
    other = open_store(encryption_keys=text(new=NEW))
    with pytest.raises(EncryptionKeyMissing):
        other.fork_session("s")
    with pytest.raises(EncryptionKeyMissing):
        other.set_title("s", "x")
    (listed,) = other.list_sessions("ada")
    assert (listed["session_id"], listed["title"]) == ("s", None)
    assert list(other.search("secret", "ada")) == []


def test_a_record_that_cannot_be_read_keeps_its_place_in_a_branch(open_store: OpenStore) -> None:
    store = open_store(encryption_keys=text(old=OLD))
    fill(store)
    store.append_to_thread("s", Message("user", "more"))
    store.client.lset("thread:{s}", 3, "damaged")  # type: ignore[arg-type]
    branch = store.fork_session("s", 5)
    found = store.load_thread(branch)
    assert found.indexes == (0, 1, 2, 4)
    assert [record.raw for record in found.unreadable] == [b"damaged"]
