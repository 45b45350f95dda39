"""What an agent is made of, as it was handed in: checked, and what is usual for what was not."""

from __future__ import annotations

from contextlib import suppress

from ..agent import AgentConfig, StreamCallback
from ..config.redis import RedisConfig
from ..errors import InvalidInput, StoreUnavailable
from ..runtime.checks import of_kind
from ..runtime.clock import Clock
from ..store.manager import RedisSessionManager
from ..telemetry import Instrumentation


def given_config(config: AgentConfig | None) -> AgentConfig:
    """Return the agent's settings; raise InvalidInput for anything else."""
    if config is None:
        return AgentConfig()
    is_redis = isinstance(config, RedisConfig)
    hint = "give it as redis_config=" if is_redis else 'write AgentConfig(name="…", model="…")'
    return of_kind(config, AgentConfig, "config", hint)


def given_callbacks(callbacks: StreamCallback | None) -> StreamCallback:
    """Return the agent's callbacks; raise InvalidInput for anything else."""
    if callbacks is None:
        return StreamCallback()
    hint = "make callbacks = StreamCallback() and register functions with callbacks.on_any(…)"
    return of_kind(callbacks, StreamCallback, "callbacks", hint)


def given_store(
    store: RedisSessionManager | None,
    redis_config: RedisConfig | None,
    clock: Clock,
    instrumentation: Instrumentation | None,
) -> RedisSessionManager:
    """Return the store that was given, or a new one; raise InvalidInput for anything else."""
    if redis_config is not None or store is None:
        redis_config = RedisConfig.given(redis_config, "redis_config")
    if store is None:
        return RedisSessionManager(redis_config, clock=clock, instrumentation=instrumentation)
    of_kind(store, RedisSessionManager, "store", "write RedisSessionManager(RedisConfig(…))")
    if redis_config is not None and redis_config != store.config:
        raise InvalidInput(
            "redis_config stands beside a store that has other settings",
            cause="an agent works with the settings of its store",
            hint="leave one of the two out",
        )
    return store


def leave_store(store: RedisSessionManager, *, is_given: bool) -> None:
    """Disconnect the agent's own store; in one that it was given only write what is noted."""
    if not is_given:
        store.disconnect()
    elif store.parts.core.connections.is_open:
        for parts in store.parts.family() if store.parts.root is store.parts else [store.parts]:
            with suppress(StoreUnavailable):  # which is logged
                parts.write()
