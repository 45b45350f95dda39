"""RedisSessionManager: the whole store as one object, for those who need more than the agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import redis

from ..config import RedisConfig
from ..crypto.format import format_of
from ..records.format import RecordFormat, choose_format
from ..records.frame import decode, encode
from ..records.json import check_json
from ..runtime.checks import of_kind
from ..runtime.clock import Clock, check_clock
from ..runtime.delegating import AlsoCalled, delegates
from ..telemetry import Instrumentation, Telemetry
from .appending import Appending
from .branches import Branches
from .cache import Cache, CacheStats
from .channels import Channels
from .checks import check_object
from .core import StoreCore
from .events import Events
from .expiry import Expiry
from .forgetting import Forgetting
from .health import HealthChecks
from .limits import Limits
from .listing import Listing
from .locks import Locks
from .parts import Parts
from .renewal import Renewal
from .resolving import Resolving
from .rewinding import Rewinding
from .search import Search
from .sessions import Sessions
from .single_flight import SingleFlight
from .stats import StoreStats, stats_of
from .storing import Storing
from .threads import Threads
from .titles import Titles
from .transfer import Transfer
from .turn_begin import TurnBegin
from .turns import Turns
from .usage import UsageCounts
from .watching import Watching

N = TypeVar("N")


def _part(kind: type[N]) -> Callable[[RedisSessionManager], N]:
    return lambda store: store.parts.part(kind)


class RedisSessionManager:
    """Sessions, threads, turns, cache, limits, locks and channels in one Redis.

    Connects by itself at the first use, or in ``connect``. Safe for threads; a forked child gets
    connections of its own. Booleans mean "was it there"; faults raise.

    Records are JSON, unless a ``format`` is handed in (any RecordFormat of
    ``miniagent_redis.records.format``) or a subclass overrides ``serialize`` and ``deserialize``.
    A subclass may use every name that is not public here. ``instrumentation`` is told of each
    exchange with Redis: see ``miniagent_redis.telemetry``. ``parts`` are those of a ``tenant``.
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
            telemetry = Telemetry.of(instrumentation)
            parts = Parts(StoreCore.of(config, format, check_clock(clock), telemetry))
        self.__parts = of_kind(parts, Parts, "parts")

    @property
    def parts(self) -> Parts:
        """The nouns behind the methods, and the core they stand on: for whoever builds on them."""
        return self.__parts

    @property
    def config(self) -> RedisConfig:
        """The settings."""
        return self.__parts.core.config

    @property
    def clock(self) -> Clock:
        """What it takes the time from."""
        return self.__parts.core.clock

    # --- life -------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect now, in about a second; raises StoreUnavailable or StoreMisconfigured."""
        self.__parts.core.connections.open()

    def disconnect(self) -> None:
        """Give locks back, write what is noted, close all connections. Twice is fine.

        A tenant leaves the connections to the others: the store that it came from closes them.
        """
        parts = self.__parts
        is_root = parts.root is parts
        if parts.core.connections.is_open:
            for each in parts.family() if is_root else [parts]:
                each.finish()
        if is_root:
            parts.core.connections.close()

    def tenant(self, namespace: str) -> RedisSessionManager:
        """Return the same store for another namespace, on the same connections and threads.

        Every key and channel of it begins with the namespace; nothing is shared with others. It
        costs no connection, and an agent's background thread looks after all tenants of its store.
        Raises InvalidInput for what is no namespace.
        """
        return RedisSessionManager(parts=self.__parts.tenant(namespace))

    def __enter__(self) -> RedisSessionManager:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    _client = AlsoCalled("client")  # as in the original

    @property
    def client(self) -> redis.Redis:
        """The redis-py client, for commands and pipelines of your own. It never retries."""
        return self.__parts.core.connections.client

    @property
    def unreadable_records(self) -> int:
        """How many unreadable records this process has met."""
        return self.__parts.core.tally.unreadable_records

    @property
    def failed_expiry_hooks(self) -> int:
        """How many calls of a hook have raised in this process."""
        return self.__parts.core.tally.failed_expiry_hooks

    @property
    def cache_stats(self) -> CacheStats:
        """Hits, misses and seconds saved since this manager was made, in this process."""
        return self.__parts.cache.stats

    def stats(self) -> StoreStats:
        """Return what the store is doing and did in this process. Asks Redis nothing."""
        return stats_of(self.__parts)

    # --- records ----------------------------------------------------------------------------

    def serialize(self, data: Any) -> bytes:
        """Turn the data of a record (a dict) into the bytes to store."""
        check_json(check_object(data, "data"), "data")
        return encode(data)

    def deserialize(self, data: bytes) -> Any:
        """Turn stored bytes back into data; raise any ValueError if they are not readable."""
        return decode(data)

    # --- the nouns --------------------------------------------------------------------------

    @delegates(HealthChecks.health_check, _part(HealthChecks))
    def health_check(self) -> None: ...
    @delegates(HealthChecks.health, _part(HealthChecks))
    def health(self) -> None: ...
    @delegates(Sessions.create_session, _part(Sessions))
    def create_session(self) -> None: ...
    @delegates(Sessions.get_session, _part(Sessions))
    def get_session(self) -> None: ...
    @delegates(Sessions.session_state, _part(Sessions))
    def session_state(self) -> None: ...
    @delegates(Sessions.update_session, _part(Sessions))
    def update_session(self) -> None: ...
    @delegates(Sessions.patch_session, _part(Sessions))
    def patch_session(self) -> None: ...
    @delegates(Sessions.delete_session, _part(Sessions))
    def delete_session(self) -> None: ...
    @delegates(Forgetting.forget_user, _part(Forgetting))
    def forget_user(self) -> None: ...
    @delegates(Sessions.touch_session, _part(Sessions))
    def touch_session(self) -> None: ...
    @delegates(Sessions.extend_session_ttl, _part(Sessions))
    def extend_session_ttl(self) -> None: ...
    @delegates(Listing.list_sessions, _part(Listing))
    def list_sessions(self) -> None: ...
    @delegates(Titles.set_title, _part(Titles))
    def set_title(self) -> None: ...
    @delegates(Branches.fork_session, _part(Branches))
    def fork_session(self) -> None: ...
    @delegates(Branches.list_branches, _part(Branches))
    def list_branches(self) -> None: ...
    @delegates(Rewinding.rewind, _part(Rewinding))
    def rewind(self) -> None: ...
    @delegates(Search.search, _part(Search))
    def search(self) -> None: ...
    @delegates(Expiry.sweep, _part(Expiry))
    def sweep(self) -> None: ...
    @delegates(Threads.load_thread, _part(Threads))
    def load_thread(self) -> None: ...
    @delegates(Threads.load_tail, _part(Threads))
    def load_tail(self) -> None: ...
    @delegates(Appending.append_to_thread, _part(Appending))
    def append_to_thread(self) -> None: ...
    @delegates(Appending.clear_thread, _part(Appending))
    def clear_thread(self) -> None: ...
    @delegates(Transfer.export_thread, _part(Transfer))
    def export_thread(self) -> None: ...
    @delegates(Transfer.import_thread, _part(Transfer))
    def import_thread(self) -> None: ...
    @delegates(Transfer.copy_thread, _part(Transfer))
    def copy_thread(self) -> None: ...
    @delegates(Transfer.truncate_thread, _part(Transfer))
    def truncate_thread(self) -> None: ...
    @delegates(Renewal.renew_session_id, _part(Renewal))
    def renew_session_id(self) -> None: ...
    @delegates(TurnBegin.begin_turn, _part(TurnBegin))
    def begin_turn(self) -> None: ...
    @delegates(TurnBegin.resume_turn, _part(TurnBegin))
    def resume_turn(self) -> None: ...
    @delegates(Turns.stage_step, _part(Turns))
    def stage_step(self) -> None: ...
    @delegates(Turns.renew_lease, _part(Turns))
    def renew_lease(self) -> None: ...
    @delegates(Turns.tell_text, _part(Turns))
    def tell_text(self) -> None: ...
    @delegates(Turns.cancel_turn, _part(Turns))
    def cancel_turn(self) -> None: ...
    @delegates(Storing.commit_turn, _part(Storing))
    def commit_turn(self) -> None: ...
    @delegates(Storing.replay_turn, _part(Storing))
    def replay_turn(self) -> None: ...
    @delegates(Turns.abort_turn, _part(Turns))
    def abort_turn(self) -> None: ...
    @delegates(Resolving.resolve_turn, _part(Resolving))
    def resolve_turn(self) -> None: ...
    @delegates(Events.read_events, _part(Events))
    def read_events(self) -> None: ...
    @delegates(Watching.watch, _part(Watching))
    def watch(self) -> None: ...
    @delegates(Cache.cache_get, _part(Cache))
    def cache_get(self) -> None: ...
    @delegates(Cache.cache_set, _part(Cache))
    def cache_set(self) -> None: ...
    @delegates(Cache.cache_delete, _part(Cache))
    def cache_delete(self) -> None: ...
    @delegates(SingleFlight.cache_get_or_set, _part(SingleFlight))
    def cache_get_or_set(self) -> None: ...
    @delegates(Limits.rate_limit, _part(Limits))
    def rate_limit(self) -> None: ...
    @delegates(Limits.check_rate_limit, _part(Limits))
    def check_rate_limit(self) -> None: ...
    @delegates(Limits.check_rate_limits, _part(Limits))
    def check_rate_limits(self) -> None: ...
    @delegates(UsageCounts.usage, _part(UsageCounts))
    def usage(self) -> None: ...
    @delegates(Locks.lock, _part(Locks))
    def lock(self) -> None: ...
    @delegates(Locks.acquire_lock, _part(Locks))
    def acquire_lock(self) -> None: ...
    @delegates(Locks.release_lock, _part(Locks))
    def release_lock(self) -> None: ...
    @delegates(Locks.is_locked, _part(Locks))
    def is_locked(self) -> None: ...
    @delegates(Channels.publish, _part(Channels))
    def publish(self) -> None: ...
    @delegates(Channels.subscribe, _part(Channels))
    def subscribe(self) -> None: ...
    @delegates(Channels.unsubscribe, _part(Channels))
    def unsubscribe(self) -> None: ...
    @delegates(Channels.get_messages, _part(Channels))
    def get_messages(self) -> None: ...
