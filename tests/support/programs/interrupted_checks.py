"""What the interrupted programs call, what must come of it, and what may be left in the end."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import redis

from miniagent_redis import (
    AgentConfig,
    Message,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
)
from miniagent_redis.errors import MiniAgentError
from tests.support.programs.checking import Wrong, echo, expect
from tests.support.programs.talking import say

MOST = 6
"""Connections of each pool: the main thread, others, the background, and one to spare."""
LEASE, TICKET, LOCK_TTL = 1.0, 6.0, 2
MARGIN = 3.0
"""Seconds by which a busy machine may be late."""


def names(listed: Any) -> list[str]:
    return [session["session_id"] for session in listed]


def settings(url: str) -> tuple[AgentConfig, RedisConfig]:
    return (
        AgentConfig(model=echo),
        RedisConfig(url=url, max_connections=MOST, lease_ttl=LEASE, session_ttl=600),
    )


class Own:
    """An open agent with its store, and a second store that listens."""

    def __init__(self, agent: SessionAgent) -> None:
        self.agent = agent.initialize()
        self.manager = SessionManager(agent)
        self.store = agent.store
        self.ears = RedisSessionManager(self.store.config)

    def close(self) -> None:
        self.ears.disconnect()
        self.agent.shutdown()
        self.store.disconnect()  # which may belong to an asyncio agent around this one

    def listening(self, name: str) -> Callable[[], None]:
        """Return a call that publishes, and hears what was published for it and not before."""
        numbers, heard = count(), [-1]
        self.ears.subscribe([name])

        def listen() -> None:
            end, number = time.monotonic() + MARGIN, -1
            while time.monotonic() < end:  # one that was interrupted has to subscribe again first
                number = next(numbers)
                self.store.publish("not for us", "not for us")
                self.store.publish(name, number)
                for message in self.ears.get_messages(timeout=0.1):
                    expect(message["channel"], name)
                    # The same again: a PUBLISH whose reply is lost is sent once more.
                    if message["data"] not in range(max(0, heard[0]), number + 1):
                        raise Wrong(f"heard {message['data']} after {heard[0]}")
                    heard[0] = message["data"]
                    if heard[0] == number:
                        return
            raise Wrong(f"heard nothing of {number}")

        return listen


class Caller:
    """One who calls, on a name of its own: each reply must have to do with that name.

    ``strict``: nobody interrupts it, so that nothing is ever left of the call before.
    """

    def __init__(self, own: Own, name: str, *, strict: bool) -> None:
        self.own, self.store, self.name, self.strict = own, own.store, name, strict
        self.numbers = count()
        self.chats = f"{name}-chat"
        self.raw = f"raw {name}".encode()
        for session_id in (name, self.chats):
            self.store.create_session(session_id, {"name": name}, user_id=name)
        self.store.append_to_thread(name, Message("user", name))
        self.store.cache_set(name, name)
        self.store.client.set(f"raw:{name}", self.raw)
        self.calls = [
            *(self.get_session, self.session_state, self.load_thread, self.list_sessions),
            *(self.cache, self.redis_py, self.rate_limit, self.lock, self.acquire_lock),
            *(self.chat, self.chat, self.update, self.not_there),
        ]

    def get_session(self) -> None:
        data = self.store.get_session(self.name)
        expect(data and data.pop("name"), self.name)

    def session_state(self) -> None:
        expect(self.store.session_state(self.chats, user_id=self.name).user_id, self.name)

    def load_thread(self) -> None:
        texts = [message.text for message in self.store.load_thread(self.name).messages]
        expect(texts, [self.name])

    def list_sessions(self) -> None:
        expect(sorted(names(self.store.list_sessions(user_id=self.name))), [self.name, self.chats])

    def cache(self) -> None:
        self.store.cache_set(self.name, self.name)
        expect(self.store.cache_get(self.name), self.name)

    def redis_py(self) -> None:
        expect(self.store.client.get(f"raw:{self.name}"), self.raw)

    def rate_limit(self) -> None:
        expect(self.store.rate_limit(self.name, 10**9, 60), True)

    def update(self) -> None:
        number = next(self.numbers)
        self.store.update_session(self.name, {"name": self.name, "n": number})
        expect(self.store.get_session(self.name), {"name": self.name, "n": number})

    def not_there(self) -> None:
        expect(self.store.get_session(f"{self.name}-nobody"), None)
        expect(self.store.cache_get(f"{self.name}-nothing"), None)

    def lock(self) -> None:
        with self.store.lock(self.name, ttl=LOCK_TTL, timeout=LOCK_TTL + MARGIN):
            expect(self.store.lock(self.name, ttl=LOCK_TTL).acquire(timeout=0), False)
        expect(self.store.is_locked(f"{self.name}-never"), False)

    def acquire_lock(self) -> None:
        resource = f"{self.name}-2"
        if not self.strict:
            self.store.release_lock(resource)  # an earlier call may not have come to it
        got = self.store.acquire_lock(resource, ttl=LOCK_TTL, timeout=LOCK_TTL + MARGIN)
        expect(got, True)
        # An interrupt that counts as a lost reply has it released once more.
        expect(self.store.release_lock(resource), True, self.strict)

    def chat(self) -> None:
        number = next(self.numbers)
        if number % 100 == 99:  # or it grows too large
            self.own.manager.clear_history(self.chats)
        text = f"{self.name} {number}"
        expect(self.own.manager.chat(self.chats, text), f"{text} yes")
        if self.strict:
            history = self.own.manager.get_history(self.chats, limit=2)
            expect([message["content"] for message in history], [text, f"{text} yes"])

    def faults_in_history(self) -> list[str]:
        """Say what is not as it should be in what was stored, and in what is kept of it here."""
        stored = [message.text for message in self.store.load_thread(self.chats).messages]
        faults = []
        if [f"{text} yes" for text in stored[::2]] != stored[1::2]:
            faults.append(f"{self.chats} has half a turn or another's")
        if len(set(stored)) != len(stored):
            faults.append(f"{self.chats} has a turn twice")
        if not all(text.startswith(f"{self.name} ") for text in stored):
            faults.append(f"{self.chats} has another's message")
        if [message.text for message in self.own.agent.thread(self.chats).refresh()] != stored:
            faults.append(f"{self.chats} is kept otherwise than it is stored")
        return faults


def say_figures(own: Own, callers: list[Caller], interrupts: int, wrong: list[str]) -> None:
    """Look at what is left, when nobody calls any more, close all, and say the figures."""
    stuck_turns = sum(is_stuck(own, caller.chats) for caller in callers)
    for caller in callers:
        wrong += caller.faults_in_history()
        own.store.release_lock(f"{caller.name}-2")
    stuck_locks = locks_after(own, LOCK_TTL + MARGIN)
    in_use_at_once = used_at_once(own)
    own.close()
    say(
        interrupts=interrupts,
        wrong=wrong,
        leaked_connections=still_open(own.store.config.url),
        stuck_turns=stuck_turns,
        stuck_locks=stuck_locks,
        in_use_at_once=in_use_at_once,
    )


def is_stuck(own: Own, session_id: str) -> bool:
    """Whether a turn cannot begin within the lease, or the ticket, of what was interrupted.

    A ticket stays if whoever waits is interrupted, and again as it gives up its place.
    """
    began = time.monotonic()
    try:
        own.manager.chat(session_id, f"{session_id.removesuffix('-chat')} last")
    except MiniAgentError:
        return True
    return time.monotonic() - began > max(LEASE, TICKET) + MARGIN


def locks_after(own: Own, seconds: float) -> int:
    """Wait until no lock is left; return how many are after ``seconds``."""
    end = time.monotonic() + seconds
    while (left := len(own.store.client.keys("lock:*"))) and time.monotonic() < end:
        threading.Event().wait(0.01)
    return left


def still_open(url: str | None) -> int:
    """Return how many connections the server still has, besides the one that asks it."""
    assert url is not None
    gc.collect()
    end = time.monotonic() + MARGIN
    with redis.Redis.from_url(url) as client:
        while True:
            connected: Any = client.info("clients")
            left = int(connected["connected_clients"]) - 1
            if not left or time.monotonic() > end:
                return left
            threading.Event().wait(0.01)


def used_at_once(own: Own) -> int:
    """Return how many connections of the pool work at the same time: one that hung is missing."""
    own.agent.background.stop()
    worked: list[int] = []
    together = threading.Barrier(MOST)

    def wait_in_server(n: int) -> None:
        together.wait(MARGIN)
        # Longer than a thread waits for a connection, and shorter than one waits for a reply.
        expect(own.store.parts.core.connections.call("BLPOP", f"nothing-{n}", "0.7"), None)
        worked.append(n)

    threads = [threading.Thread(target=wait_in_server, args=(n,)) for n in range(MOST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(worked)
