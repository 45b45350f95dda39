"""A model of the store: a dict of lists of messages with owners, turns and times."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from hypothesis.stateful import RuleBasedStateMachine

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.models import OpenTurn, ThreadSlice
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager

IDS = ("a", "b")
USERS = (None, "ada", "bob")
LEASE_MS = 30_000
LARGEST = 200_000


@define(eq=False)
class ModelTurn:
    id: str
    staged: list[str]
    lease_ms: int
    holders: list[OpenTurn]  # the last one holds it


@define(eq=False)
class ModelSession:
    user: str | None
    ttl_ms: int
    created_ms: int
    deadline_ms: int
    used_ms: int
    data: dict[str, Any] = field(factory=dict)
    messages: list[str] = field(factory=list)
    head: int = 0  # so many of them were let go of
    version: int = 1
    turns: int = 0
    tokens: int = 0
    turn: ModelTurn | None = None


class Model(RuleBasedStateMachine):
    """The sessions as they should be, beside the store, which moves by the same clock."""

    url = ""
    on_full: Any = "refuse"
    largest = LARGEST

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        config = RedisConfig(
            url=self.url, session_ttl=600, max_session_size=self.largest, on_full=self.on_full
        )
        self.store = RedisSessionManager(config, clock=self.clock)
        self.store.client.flushdb()
        self.sessions: dict[str, ModelSession] = {}
        self.zombies: list[OpenTurn] = []
        self.committed: list[tuple[OpenTurn, ModelSession, int]] = []
        self.readers: dict[str, tuple[int | None, int, list[str]]] = {}

    def teardown(self) -> None:
        self.store.disconnect()

    @property
    def now_ms(self) -> int:
        return round(self.clock.time() * 1000)

    def alive(self, session_id: str, user: str | None = None) -> ModelSession | None:
        session = self.sessions.get(session_id)
        if session is None or session.deadline_ms <= self.now_ms:
            return None
        return session if user in (None, session.user) else None

    def use(self, session: ModelSession) -> None:
        session.deadline_ms = self.now_ms + session.ttl_ms
        session.used_ms = self.now_ms

    def drop_turn(self, session: ModelSession) -> None:
        if session.turn is not None:
            self.zombies.append(session.turn.holders[-1])
            session.turn = None

    def follow(self, session: ModelSession, known: list[str], found: ThreadSlice) -> list[str]:
        """Return what a reader has that knew the end of the thread, and was given a slice of it."""
        assert session.head <= found.head <= (found.count if self.on_full == "trim" else 0)
        session.head = found.head
        if found.start <= found.head:
            known = []
            assert found.start == found.head
        known = known + [message.text for message in found.messages]
        assert known == session.messages[len(session.messages) - len(known) :]
        assert len(known) >= len(session.messages) - found.head
        return known

    def open_turns(self) -> list[tuple[ModelSession, ModelTurn]]:
        found = [self.alive(session_id) for session_id in IDS]
        return [(session, session.turn) for session in found if session and session.turn]
