"""A world in which a call meets an outage, prepared while all was well."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from miniagent_redis import (
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    StreamCallback,
)
from tests.support.calls import COMMIT_TIMEOUT, WAIT, Scene
from tests.support.place import APP, Place


class World(Scene):
    """An open agent with a session, an open turn on another one, a lock and listeners."""

    def __init__(self, place: Place, kind: str, name: str) -> None:
        login = {} if kind == "password wanted" else {"username": APP[0], "password": APP[1]}
        config = RedisConfig(
            url=place.proxy.url,
            max_connections=2,
            commit_timeout=COMMIT_TIMEOUT,
            lease_ttl=3600,
            **login,  # type: ignore[arg-type]
        )
        self.told: list[str] = []
        callbacks = StreamCallback()
        callbacks.on(EventType.HEALTH_CHANGED, lambda event: self.told.append(event.data["state"]))
        agent = SessionAgent(redis_config=config, callbacks=callbacks)
        # The background thread would meet the outage first; only some calls need it.
        agent.background.jobs.clear()
        agent.initialize()
        super().__init__(agent.store, SessionManager(agent), agent, f"{name}-s", name)
        self.mine, self.doomed, busy = name, f"{name}-old", f"{name}-t"
        for session in (self.sid, self.doomed, busy):
            self.store.create_session(session, {"n": 1}, user_id=name)
        self.manager.chat(self.sid, "Hello")
        loaded = self.store.load_thread(self.sid)
        self.slice = evolve(loaded, messages=loaded.messages[:1], indexes=loaded.indexes[:1])
        self.turn = self.store.begin_turn(busy, "a")
        assert self.store.acquire_lock(name)
        self.store.subscribe([f"{name}-c"])
        self.store.cache_set(name, 1)
        self._watching = self.manager.watch(busy, "", WAIT)
        next(self._watching)

    def watching(self) -> Any:
        """Return what is under way since before the outage."""
        return self._watching

    def close(self) -> None:
        self.agent.shutdown(1.0)
