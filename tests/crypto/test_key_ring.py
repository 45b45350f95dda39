"""Keys: how they are given, when their source is asked, and that they are never shown."""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager, StoreMisconfigured
from miniagent_redis.crypto import KeyRing, ring
from miniagent_redis.crypto.ring import Keys, ring_of
from miniagent_redis.errors import InvalidInput
from tests.support.keys import NEW, OLD, Source, text
from tests.support.waiting import LIMIT


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_key_of_a_text_or_a_mapping_is_the_current_one() -> None:
    expected = KeyRing("new", {"new": NEW, "old": OLD})
    assert ring_of(text(new=NEW, old=OLD)) == expected
    assert ring_of(text(new=NEW, old=OLD).replace(",", "\n") + "\n") == expected
    assert ring_of({"new": NEW, "old": OLD}) == expected
    assert ring_of(expected) is expected


def test_base64_for_urls_is_taken_too() -> None:
    key = b"\xff" * 32
    assert ring_of("a:" + base64.urlsafe_b64encode(key).decode()).keys == {"a": key}


def test_keys_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(text(new=NEW) + "\n" + text(old=OLD) + "\n")
    assert ring_of(f"file:{tmp_path}/keys").current == "new"
    with pytest.raises(StoreMisconfigured, match="cannot be read"):
        ring_of(f"file:{tmp_path}/none")


SHORT = base64.b64encode(OLD[:31]).decode()
WHOLE = base64.b64encode(OLD).decode()


@pytest.mark.parametrize(
    "given",
    [
        *("", WHOLE, f"a:{SHORT}", f"a:{WHOLE}x", f"a b:{WHOLE}", f":{WHOLE}"),
        *(f"a:{WHOLE},a:{WHOLE}", f"a:{WHOLE} {SHORT}", {}, {"a": OLD[:16]}, {"a": WHOLE}),
        *({1: OLD}, {"a:b": OLD}, {"": OLD}, {"ä": OLD}, {WHOLE: OLD, "": OLD}, [OLD], None, 5),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(given: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        ring_of(given)
    assert SHORT not in str(caught.value)
    assert WHOLE not in str(caught.value)


def test_the_current_key_must_be_among_the_keys() -> None:
    with pytest.raises(InvalidInput, match="current"):
        KeyRing("b", {"a": OLD})


def test_keys_are_never_shown() -> None:
    config = RedisConfig(url="memory://", encryption_keys=text(a=OLD))
    shown = repr(config) + repr(KeyRing("a", {"a": OLD})) + repr(Keys({"a": OLD}))
    assert WHOLE not in shown
    assert repr(OLD)[2:20] not in shown


def test_bad_keys_in_the_settings_are_told_when_the_store_is_made() -> None:
    with pytest.raises(InvalidInput, match="encryption key number 1"):
        RedisSessionManager(RedisConfig(url="memory://", encryption_keys="secret"))
    with pytest.raises(InvalidInput, match="encryption_keys"):
        RedisConfig(encryption_keys=5)  # type: ignore[arg-type]


def test_the_settings_come_from_the_environment() -> None:
    env = {"REDIS_URL": "memory://", "MINIAGENT_ENCRYPTION_KEYS": text(a=OLD)}
    assert RedisConfig.from_env(env).encryption_keys == text(a=OLD)


def test_a_source_is_asked_once_at_first_and_then_once_a_minute() -> None:
    source, time = Source(a=OLD), Time()
    keys = Keys(source, time)
    assert source.asked == 0
    assert [keys.current() for _ in range(3)] == [("a", OLD)] * 3
    assert source.asked == 1
    source.ring = KeyRing("b", {"a": OLD, "b": NEW})
    assert keys.current() == ("a", OLD)
    time.now += ring.REFRESH + 1
    assert [keys.current() for _ in range(3)] == [("b", NEW)] * 3
    assert source.asked == 2


def test_a_source_is_asked_at_once_for_a_key_that_is_not_known() -> None:
    source, time = Source(a=OLD), Time()
    keys = Keys(source, time)
    assert keys.find("a") == OLD
    source.ring = KeyRing("a", {"a": OLD, "b": NEW})
    assert keys.find("b") == NEW
    assert source.asked == 2


def test_it_is_not_asked_again_and_again_for_what_it_does_not_have() -> None:
    source, time = Source(a=OLD), Time()
    keys = Keys(source, time)
    keys.current()
    assert [keys.find("b") for _ in range(100)] == [None] * 100
    assert source.asked == 2
    for number in range(1000):
        assert keys.find(f"made-up-{number}") is None
    assert source.asked == 1 + ring.MOST_ASKED
    time.now += ring.ASK_AGAIN + 1
    source.ring = KeyRing("a", {"a": OLD, "b": NEW})
    assert keys.find("b") == NEW


def test_a_signal_handler_while_a_source_is_asked_may_want_the_keys_too() -> None:
    """It shuts the agent down, say, which stores what is noted."""

    def source() -> KeyRing:
        if not heard:
            heard.append("asked")
            heard.append(keys.current()[0])
        return KeyRing("a", {"a": OLD})

    heard: list[str] = []
    keys = Keys(source)
    asking = threading.Thread(target=keys.current, daemon=True)
    asking.start()
    asking.join(LIMIT / 6)
    assert not asking.is_alive()
    assert heard == ["asked", "a"]


def test_a_source_that_fails_leaves_the_keys_of_before(caplog: Any) -> None:
    source, time = Source(a=OLD), Time()
    keys = Keys(source, time)
    keys.current()
    source.ring = ValueError(f"no such key: {WHOLE}")
    time.now += ring.REFRESH + 1
    assert keys.current() == ("a", OLD)
    assert keys.find("b") is None
    assert "keys of before" in caplog.text
    assert WHOLE not in caplog.text


def test_a_source_that_never_had_keys_is_told() -> None:
    source = Source(a=OLD)
    source.ring = ValueError("away")
    keys = Keys(source)
    with pytest.raises(StoreMisconfigured, match="ValueError"):
        keys.current()
    assert keys.find("a") is None
    source.ring = KeyRing("a", {"a": OLD})
    assert keys.current() == ("a", OLD)
