"""A Ctrl-C in the middle of a call: no later call gets its reply, and no connection is lost."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.servers import RedisServer
from tests.support.words import lines, said

Store = RedisSessionManager


class Interrupted(BaseException):
    """As KeyboardInterrupt, and unlike one that a person sends to the tests."""


class Alarm:
    """Raises Interrupted somewhere in the middle of a call."""

    def __init__(self) -> None:
        self._armed = False
        self.rang = 0

    def handle(self, *_: object) -> None:
        if self._armed:
            self._armed = False
            self.rang += 1
            raise Interrupted

    def during(self, call: Callable[[], Any], delay: float) -> None:
        """Run the call and interrupt it after ``delay`` seconds, if it takes that long."""
        try:
            try:
                self._armed = True
                signal.setitimer(signal.ITIMER_REAL, delay)
                call()
            finally:
                self._armed = False
        except Interrupted:
            pass
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.fixture
def alarm() -> Iterator[Alarm]:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread only")
    ringing = Alarm()
    before = signal.signal(signal.SIGALRM, ringing.handle)
    yield ringing
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def duration(call: Callable[[], Any]) -> float:
    call()
    began = time.perf_counter()
    for _ in range(20):
        call()
    return (time.perf_counter() - began) / 20


# Where an interrupt hits a __del__, Python reports it and goes on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_call_gets_the_reply_of_an_interrupted_one(redis_url: str, alarm: Alarm) -> None:
    chance = random.Random(1)
    with Store(RedisConfig(url=redis_url, max_connections=5)) as store:
        for name in "ab":
            store.create_session(name, {"name": name})
            store.append_to_thread(name, Message("user", name))
            store.cache_set(name, name)
        # What is interrupted asks about a, what follows about b: a mix-up shows.
        interrupted: list[Callable[[], Any]] = [
            lambda: store.get_session("a"),
            lambda: store.load_thread("a"),
            lambda: store.cache_get("a"),
            lambda: store.rate_limit("a", 10**6),
            lambda: store.list_sessions(limit=5),
            lambda: store.is_locked("a"),
            lambda: store.acquire_lock("a"),
            lambda: store.release_lock("a"),
            lambda: store.client.get("cache:a"),
        ]
        raw = store.client.get("cache:b")
        took = [duration(call) for call in interrupted]
        for round_ in range(900):
            n = round_ % len(interrupted)
            alarm.during(interrupted[n], chance.random() * took[n] * 1.2)
            assert store.get_session("b") == {"name": "b"}
            assert store.cache_get("b") == "b"
            assert lines(store, "b") == ["user:b"]
            assert not store.is_locked("b")
            assert store.client.get("cache:b") == raw
        assert alarm.rang > 100
        # All five connections are still there to be used.
        together = threading.Barrier(5, timeout=20)
        failed: list[BaseException] = []

        def use() -> None:
            try:
                together.wait()
                for _ in range(20):
                    assert store.get_session("b") == {"name": "b"}
            except BaseException as exc:
                failed.append(exc)

        threads = [threading.Thread(target=use) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_commit_is_made_whole_or_not_at_all(redis_url: str, alarm: Alarm) -> None:
    chance = random.Random(2)
    with Store(RedisConfig(url=redis_url)) as store:
        store.create_session("s")
        expected: list[str] = []
        for n in range(150):
            turn = store.begin_turn("s", str(n))
            alarm.during(
                lambda turn=turn, n=n: store.commit_turn(turn, [said(str(n))]),
                chance.random() * 0.0006,
            )
            if store.resolve_turn("s", turn.turn_id) == "committed":
                expected += [f"user:{n}", f"assistant:{n}"]
            else:
                store.abort_turn(turn)
        assert lines(store) == expected
        assert alarm.rang > 10
        assert store.session_state("s").version == 1 + len(expected) // 2


def test_an_event_that_an_interrupt_leaves_locked_holds_up_no_listener(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Locked(threading.Event):
        """As it is when an interrupt comes just after its lock was taken."""

        def clear(self) -> None:
            raise AssertionError("a listener depends on an Event")

        set = clear

    locked = SimpleNamespace(**{**vars(threading), "Event": Locked})
    monkeypatch.setattr("redis.client.threading", locked)
    with Store(RedisConfig(url=redis_url)) as store:
        store.subscribe(["news"])
        store.publish("news", 1)
        assert [message["data"] for message in store.get_messages(timeout=0.1)] == [1]


def test_a_frozen_server_does_not_outlive_an_interrupt(alarm: Alarm) -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        store.create_session("a", {"name": "a"})
        store.create_session("b", {"name": "b"})
        server.pause()
        alarm.during(lambda: store.get_session("a"), 0.05)
        server.resume()
        assert alarm.rang == 1
        assert store.get_session("b") == {"name": "b"}
