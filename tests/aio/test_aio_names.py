"""miniagent_redis.aio has all names of miniagent_redis, and each class all methods of its twin."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

import miniagent_redis
from miniagent_redis import aio
from miniagent_redis.aio.locks import NamedLock as AsyncLock
from miniagent_redis.store.named_lock import NamedLock

TWINS: list[tuple[type, type]] = [
    (miniagent_redis.RedisSessionManager, aio.RedisSessionManager),
    (miniagent_redis.SessionAgent, aio.SessionAgent),
    (miniagent_redis.SessionManager, aio.SessionManager),
    (miniagent_redis.SessionThread, aio.SessionThread),
    (NamedLock, AsyncLock),
]
SPECIAL = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__iter__": "__aiter__"}
NOT_AWAITED = {
    *("RedisSessionManager.serialize", "RedisSessionManager.deserialize"),
    *("RedisSessionManager.lock", "SessionAgent.thread", "SessionAgent.on_expire"),
    *("RedisSessionManager.tenant", "SessionAgent.tenant", "SessionManager.tenant"),
    *("RedisSessionManager.stats", "SessionAgent.stats"),
}
# What gives an object of the other kind says so; NamedLock is made by lock().
OTHER_RESULTS = {"initialize", "refresh", "lock", "thread", "tenant"}


def public(cls: type) -> Iterator[tuple[str, Any]]:
    for name, value in inspect.getmembers_static(cls):
        is_public = not name.startswith("_") or name in {*SPECIAL, "__len__"}
        if is_public and isinstance(value, (property, FunctionType)):
            yield name, value


METHODS = [
    pytest.param(name, value, twin, id=f"{cls.__name__}.{name}")
    for cls, twin in TWINS
    for name, value in public(cls)
]


def parameters(function: Any) -> list[tuple[str, Any, Any, str]]:
    return [
        # Of the annotations only the last names: one side may write a name that it has renamed.
        (p.name, p.kind, p.default, str(p.annotation).replace("_", ""))
        for p in inspect.signature(function).parameters.values()
    ]


def test_both_export_the_same_names() -> None:
    assert sorted(aio.__all__) == sorted(miniagent_redis.__all__)
    for name in aio.__all__:
        ours, theirs = getattr(aio, name), getattr(miniagent_redis, name)
        own_class = ours.__module__.startswith("miniagent_redis.aio")
        assert ours is theirs or own_class, name


@pytest.mark.parametrize(("name", "method", "twin"), METHODS)
def test_each_public_name_is_mirrored(name: str, method: Any, twin: type) -> None:
    mirrored = inspect.getattr_static(twin, SPECIAL.get(name, name), None)
    assert mirrored is not None, f"{twin.__name__} in miniagent_redis.aio lacks {name}"
    if isinstance(method, property):
        assert isinstance(mirrored, property)
        return
    assert parameters(mirrored) == parameters(method)
    awaited = inspect.iscoroutinefunction(mirrored)
    returned = str(inspect.signature(method).return_annotation)
    iterates = returned.startswith(("Iterator", "Generator"))
    starts_a_task = returned.startswith("Submitted")
    plain = f"{twin.__name__}.{name}" in NOT_AWAITED or name == "__len__"
    assert awaited + iterates + starts_a_task + plain == 1, name
    assert mirrored.__doc__ or name.startswith("__") or name in OTHER_RESULTS


@pytest.mark.parametrize(("cls", "twin"), TWINS[:-1], ids=[cls.__name__ for cls, _ in TWINS[:-1]])
def test_objects_are_made_alike(cls: type, twin: type) -> None:
    assert parameters(twin.__init__) == parameters(cls.__init__)  # type: ignore[misc]


@pytest.mark.parametrize(("name", "method", "twin"), METHODS)
def test_what_is_mirrored_says_where_it_is(name: str, method: Any, twin: type) -> None:
    mirrored = inspect.getattr_static(twin, SPECIAL.get(name, name))
    if not isinstance(mirrored, property):
        assert mirrored.__qualname__ == f"{twin.__name__}.{SPECIAL.get(name, name)}"
        assert mirrored.__module__.startswith("miniagent_redis.aio")


def test_get_redis_manager_takes_the_same() -> None:
    theirs = parameters(miniagent_redis.get_redis_manager)
    assert parameters(aio.get_redis_manager) == theirs
