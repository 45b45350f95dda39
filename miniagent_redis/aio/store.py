"""RedisSessionManager for asyncio."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Self

import redis.asyncio

from ..config.redis import RedisConfig
from ..crypto.format import format_of
from ..records.format import RecordFormat, choose_format
from ..runtime.cancellation import Caller
from ..runtime.clock import Clock
from ..runtime.delegating import AlsoCalled
from ..runtime.durations import Duration
from ..runtime.mirroring import Threads, mirrors, mirrors_steps
from ..store.cache import CacheStats
from ..store.manager import RedisSessionManager as _Store
from ..store.parts import Parts
from ..store.stats import StoreStats
from ..telemetry import Instrumentation
from .locks import NamedLock


class RedisSessionManager:
    """Sessions, threads, turns, cache, limits, locks and channels in one Redis.

    Connects by itself at the first use, or in ``connect``; ``async with`` connects and
    disconnects. ``sync`` is the blocking object underneath, for code in threads of its own.
    Hand in a ``format``, or override ``serialize`` and ``deserialize``, as plain functions, to
    store another format.
    """

    def __init__(
        self,
        config: RedisConfig | None = None,
        *,
        clock: Clock | None = None,
        format: RecordFormat | None = None,
        instrumentation: Instrumentation | None = None,
        parts: Parts | None = None,
    ) -> None:
        if parts is None:
            config = RedisConfig.given(config)
            format = choose_format(self, RedisSessionManager, format_of(config, format))
        sync = _Store(
            config, clock=clock, format=format, instrumentation=instrumentation, parts=parts
        )
        self._stand_before(sync)

    def _stand_before(self, sync: _Store, threads: Threads | None = None) -> None:
        self.sync = sync
        self._threads = threads or Threads(self.config.call_threads)
        self._clients: dict[asyncio.AbstractEventLoop, redis.asyncio.Redis] = {}

    def tenant(self, namespace: str) -> RedisSessionManager:
        """Return the same store for another namespace, on the same connections and threads."""
        return Before(self.sync.tenant(namespace), self._threads)

    async def disconnect(self) -> None:
        """Write what is noted for the indexes, close all connections, let the threads end.

        Of the asyncio clients only this event loop's is closed. Twice is fine.
        """
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if isinstance(client, redis.asyncio.RedisCluster):
            await client.aclose()
        elif client is not None:
            await client.aclose(close_connection_pool=True)  # it was given its pool
        await Caller().run(self._threads.pool("waits"), self.sync.disconnect)
        self._threads.close()

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except asyncio.CancelledError:
            await self.disconnect()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()

    _client = AlsoCalled("client")  # as in the original

    @property
    def client(self) -> redis.asyncio.Redis:
        """This event loop's redis-py asyncio client, for commands and pipelines of your own.

        It never retries. Connects, and blocks meanwhile, if nothing has connected before.
        """
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for other in [one for one in self._clients if one.is_closed()]:
                del self._clients[other]
            self._clients[loop] = self.sync.parts.core.connections.async_client()
        return self._clients[loop]

    @property
    def parts(self) -> Parts:
        """The nouns behind the methods, and the core they stand on. They block."""
        return self.sync.parts

    @property
    def config(self) -> RedisConfig:
        """The settings."""
        return self.sync.config

    @property
    def clock(self) -> Clock:
        """What it takes the time from."""
        return self.sync.clock

    @property
    def unreadable_records(self) -> int:
        """How many unreadable records this process has met."""
        return self.sync.unreadable_records

    @property
    def cache_stats(self) -> CacheStats:
        """Hits, misses and seconds saved since this manager was made, in this process."""
        return self.sync.cache_stats

    @property
    def failed_expiry_hooks(self) -> int:
        """How many calls of a hook have raised in this process."""
        return self.sync.failed_expiry_hooks

    def stats(self) -> StoreStats:
        """Return what the store is doing and did in this process. Asks Redis nothing."""
        return self.sync.stats()

    def serialize(self, data: Any) -> bytes:
        """Turn JSON data (a dict) into the bytes to store. Called in a thread."""
        return _Store.serialize(self.sync, data)

    def deserialize(self, data: bytes) -> Any:
        """Turn stored bytes back into data; raise any ValueError if they are not readable."""
        return _Store.deserialize(self.sync, data)

    def lock(self, resource: str, *, ttl: Duration = 30, timeout: Duration = 10.0) -> NamedLock:
        """Return a lock on any name, for ``async with``: waits up to ``timeout`` seconds.

        It frees itself after ``ttl`` whole seconds. Entering raises LockTimeout.
        """
        return NamedLock(self._threads, partial(self.sync.lock, resource, ttl=ttl, timeout=timeout))

    @mirrors(_Store.connect)
    def connect(self) -> None: ...
    @mirrors(_Store.health_check)
    def health_check(self) -> None: ...
    @mirrors(_Store.health)
    def health(self) -> None: ...

    # --- sessions -----------------------------------------------------------------------------

    @mirrors(_Store.create_session)
    def create_session(self) -> None: ...
    @mirrors(_Store.get_session)
    def get_session(self) -> None: ...
    @mirrors(_Store.session_state)
    def session_state(self) -> None: ...
    @mirrors(_Store.update_session)
    def update_session(self) -> None: ...
    @mirrors(_Store.patch_session)
    def patch_session(self) -> None: ...
    @mirrors(_Store.delete_session)
    def delete_session(self) -> None: ...
    @mirrors(_Store.forget_user, on="waits")  # for as long as there are sessions
    def forget_user(self) -> None: ...
    @mirrors(_Store.touch_session)
    def touch_session(self) -> None: ...
    @mirrors(_Store.extend_session_ttl)
    def extend_session_ttl(self) -> None: ...
    @mirrors(_Store.list_sessions)
    def list_sessions(self) -> None: ...
    @mirrors(_Store.set_title)
    def set_title(self) -> None: ...
    @mirrors(_Store.fork_session, on="waits")  # for as long as the thread takes
    def fork_session(self) -> None: ...
    @mirrors(_Store.list_branches)
    def list_branches(self) -> None: ...
    @mirrors(_Store.rewind, on="waits")
    def rewind(self) -> None: ...
    @mirrors(_Store.search, on="waits")  # for pages of many threads
    def search(self) -> None: ...
    @mirrors(_Store.sweep, on="waits")  # for the hooks
    def sweep(self) -> None: ...

    # --- threads and turns --------------------------------------------------------------------

    @mirrors(_Store.load_thread)
    def load_thread(self) -> None: ...
    @mirrors(_Store.load_tail)
    def load_tail(self) -> None: ...
    @mirrors(_Store.append_to_thread)
    def append_to_thread(self) -> None: ...
    @mirrors(_Store.clear_thread)
    def clear_thread(self) -> None: ...
    @mirrors(_Store.export_thread, on="waits")  # for as long as the thread takes
    def export_thread(self) -> None: ...
    @mirrors(_Store.import_thread, on="waits")
    def import_thread(self) -> None: ...
    @mirrors(_Store.copy_thread, on="waits")
    def copy_thread(self) -> None: ...
    @mirrors(_Store.truncate_thread)
    def truncate_thread(self) -> None: ...
    @mirrors(_Store.renew_session_id, on="waits")  # for as long as the thread takes
    def renew_session_id(self) -> None: ...
    @mirrors(
        _Store.begin_turn,
        on="waits",
        # One that was taken over waits for whoever takes it over next.
        undo=lambda store, turn, *_, **__: turn.resumed or store.abort_turn(turn),
    )
    def begin_turn(self) -> None: ...
    @mirrors(_Store.resume_turn, on="waits")
    def resume_turn(self) -> None: ...
    @mirrors(_Store.stage_step, on="waits")  # for Redis, up to commit_timeout
    def stage_step(self) -> None: ...
    @mirrors(_Store.tell_text)
    def tell_text(self) -> None: ...
    @mirrors(_Store.cancel_turn)
    def cancel_turn(self) -> None: ...
    @mirrors(_Store.renew_lease)
    def renew_lease(self) -> None: ...
    @mirrors(_Store.commit_turn, on="waits")
    def commit_turn(self) -> None: ...
    @mirrors(_Store.replay_turn)
    def replay_turn(self) -> None: ...
    @mirrors(_Store.abort_turn)
    def abort_turn(self) -> None: ...
    @mirrors(_Store.resolve_turn)
    def resolve_turn(self) -> None: ...

    # --- cache, limits, locks, channels -------------------------------------------------------

    @mirrors(_Store.read_events)
    def read_events(self) -> None: ...
    @mirrors_steps(_Store.watch, lambda store, *args, **options: (
        store.parts.watching.watch_in_steps(*args, **options), store.clock
    ))  # fmt: skip
    def watch(self) -> None: ...
    @mirrors(_Store.cache_get)
    def cache_get(self) -> None: ...
    @mirrors(_Store.cache_set)
    def cache_set(self) -> None: ...
    @mirrors(_Store.cache_delete)
    def cache_delete(self) -> None: ...
    @mirrors(_Store.cache_get_or_set, on="waits")
    def cache_get_or_set(self) -> None: ...
    @mirrors(_Store.rate_limit)
    def rate_limit(self) -> None: ...
    @mirrors(_Store.check_rate_limit)
    def check_rate_limit(self) -> None: ...
    @mirrors(_Store.check_rate_limits)
    def check_rate_limits(self) -> None: ...
    @mirrors(_Store.usage)
    def usage(self) -> None: ...
    @mirrors(
        _Store.acquire_lock,
        on="waits",
        undo=lambda store, got, resource, **_: got and store.release_lock(resource),
    )
    def acquire_lock(self) -> None: ...
    @mirrors(_Store.release_lock)
    def release_lock(self) -> None: ...
    @mirrors(_Store.is_locked)
    def is_locked(self) -> None: ...
    @mirrors(_Store.publish)
    def publish(self) -> None: ...
    @mirrors(_Store.subscribe)
    def subscribe(self) -> None: ...
    @mirrors(_Store.unsubscribe)
    def unsubscribe(self) -> None: ...
    @mirrors_steps(_Store.get_messages, lambda store, *args, **options: (
        store.parts.channels.get_messages_in_steps(*args, **options), store.clock
    ))  # fmt: skip
    def get_messages(self) -> None: ...


class Before(RedisSessionManager):
    """The facade of a blocking store that is there already."""

    def __init__(self, sync: _Store, threads: Threads | None = None) -> None:
        self._stand_before(sync, threads)
