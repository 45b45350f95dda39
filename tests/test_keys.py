"""Keys: any text becomes a key that cannot be mistaken for another, or is refused."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import miniagent_redis
from miniagent_redis.errors import InvalidInput
from miniagent_redis.store import keys as module
from miniagent_redis.store.keys import (
    SHARDS,
    Keys,
    check_id,
    check_session_id,
    check_user_id,
    encode_id,
    encode_name,
)

FOLDER = Path(miniagent_redis.__path__[0])
KINDS = re.compile(
    "(?:" + "|".join(re.findall(r"^\| ns ([a-z_-]+:)", module.__doc__ or "", re.M)) + ")"
)
"""How keys begin, by the table."""
quick = settings(max_examples=100, deadline=None, database=None)
any_text = st.text(st.characters(exclude_categories=()), min_size=1, max_size=300)

NO_TEXTS: list[object] = ["", None, 0, 1.5, True, b"abc", ["a"], object()]
BAD_IDS: list[object] = [
    " ", "a b", "-a", ".a", "_a", "a{b}", "{", "}", "a*", "a?", "[a]", "a\n", "\na", "a\n\n",
    "a\x00", "é", "\uff41", "a/b", "a\\b", "a'", 'a"', "a%20", "x" * 129, "x" * 10_000, "\ud800",
    *NO_TEXTS,
]  # fmt: skip
BAD_NAMES: list[object] = ["", None, 5, b"abc", True, ["a"]]


@pytest.mark.parametrize("session_id", NO_TEXTS, ids=lambda value: repr(value)[:20])
def test_what_is_not_a_session_id_is_refused_in_few_words(session_id: object) -> None:
    with pytest.raises(InvalidInput, match="is not a session id") as caught:
        check_session_id(session_id)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("given", BAD_IDS, ids=lambda value: repr(value)[:20])
def test_what_is_not_a_turn_id_is_refused_in_few_words(given: object) -> None:
    with pytest.raises(InvalidInput, match="is not a turn id") as caught:
        check_id(given, "a turn id")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("given", ["a", "0", "A.b_c:d@e-f", "x" * 128, "user@host:1"])
def test_an_id_comes_back_as_it_is(given: str) -> None:
    assert check_session_id(given) == check_id(given, "a turn id") == given


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_names_and_user_ids_must_be_text_that_is_not_empty(name: object) -> None:
    with pytest.raises(InvalidInput):
        check_user_id(name)
    with pytest.raises(InvalidInput):
        encode_name(name, "the name")


@quick
@given(any_text)
def test_any_text_becomes_a_short_name_of_harmless_characters(text: str) -> None:
    name = encode_name(text, "the name")
    assert name.isascii()
    assert 0 < len(name) <= 200
    assert not set(name) & set("{}*?[]^\\ \n\r\x00")


@quick
@given(any_text, any_text)
def test_different_texts_have_different_names(left: str, right: str) -> None:
    assert (encode_name(left, "") == encode_name(right, "")) == (left == right)


@pytest.mark.parametrize("text", ["x" * 10_000, "é" * 100, "{}" * 50, "\ud800" * 70])
def test_a_long_name_becomes_a_digest_that_no_short_name_has(text: str) -> None:
    digest = encode_name(text, "")
    assert digest.startswith("%sha256:")
    assert encode_name(digest, "") != digest


def test_the_keys_of_a_session_are_those_of_the_table() -> None:
    assert Keys().of_session("a") == [
        "session:{a}", "thread:{a}", "turn:{a}", "metadata:{a}", "ops:{a}", "events:{a}",
        "queue:{a}",
    ]  # fmt: skip
    keys = Keys("acme")
    assert keys.of_session("a") == [f"acme:{key}" for key in Keys().of_session("a")]
    assert keys.session("a") == "acme:session:{a}"
    assert keys.metadata("a") == "acme:metadata:{a}"
    assert keys.events("a") == "acme:events:{a}"
    assert keys.user_sessions("é {x}") == "acme:user:{%C3%A9%20%7Bx%7D}:sessions"
    assert keys.cache("weather:paris") == "acme:cache:weather:paris"
    assert keys.of_lock(keys.lock("a b")) == ("acme:lock:{a%20b}", "acme:lock-signal:{a%20b}")
    assert keys.rate_limit("u*", 60_000) == "acme:rate_limit:{u%2A}:60000"


def test_keys_are_made_in_one_module() -> None:
    makers = {
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and KINDS.match(str(node.value))
    }
    # fsck meets keys that are there, and tells by how they begin what they are.
    assert {name for name in makers if "/fsck/" not in name} == {"store/keys.py"}


@quick
@given(any_text)
def test_all_keys_of_a_session_share_one_cluster_slot(session_id: str) -> None:
    for key in Keys("ns").of_session(session_id):
        tag = key.partition("{")[2].partition("}")[0]
        assert tag == encode_id(session_id)
    assert 0 <= Keys().shard(session_id) < SHARDS


def test_every_shard_is_used() -> None:
    assert {Keys().shard(f"session-{n}") for n in range(1000)} == set(range(SHARDS))


@pytest.mark.parametrize("namespace", ["a:b", "{x}", "a*", " ", "é", "x" * 65, "a\n", 5])
def test_a_namespace_that_could_reach_into_another_is_refused(namespace: object) -> None:
    with pytest.raises(InvalidInput, match="namespace"):
        Keys(namespace)  # type: ignore[arg-type]
