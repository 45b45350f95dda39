"""Goes through all checks of one store, in an order in which each stands on those before."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from ..embedded import default_dir
from ..errors import MiniAgentError, StoreMisconfigured, StoreUnavailable
from ..fsck import check as fsck
from ..maintenance.spool import Spool
from ..store.manager import RedisSessionManager
from . import data, server
from .check import Check, not_checked
from .rights import rights
from .spool import spool

_PINGS = 50
_PING_LIMIT = 1.0  # seconds for all of them
_SLOW_MS = 100.0
_SKEW = 5.0  # seconds
_NO_SERVER = "memory:// is in this process, there is no server to ask"


@frozen
class Step:
    """A function that makes the checks of these names."""

    names: tuple[str, ...]
    run: Callable[[], list[Check]]


def diagnose(store: RedisSessionManager, *, repair: bool = False) -> list[Check]:
    """Return all checks of a store; ``repair`` mends what fsck can mend.

    Never raises what the store raises: a check that cannot be made says so, and when the server
    stops answering those after it are skipped. When it does not answer at all, that takes as long
    as one connection and one reply may take: ``socket_connect_timeout`` + ``socket_timeout``.
    The last steps read all that is stored: see ``fsck.check``.
    """
    mode = _mode(_folder(store)) if store.config.address.kind == "embedded" else None
    checks: list[Check] = []
    lost = False
    if store.config.spool_dir:
        checks.append(spool(Spool(store.config.spool_dir, store).backlog()))
    for step in _steps(store, mode, repair):
        if lost:
            checks += [not_checked(name) for name in step.names]
            continue
        try:
            checks += step.run()
        except MiniAgentError as exc:
            lost = isinstance(exc, StoreUnavailable) or step.names == ("reachable",)
            first, *others = step.names
            if lost:
                detail = f"{exc.problem}: {exc.cause}" if exc.cause else exc.problem
                checks.append(Check(first, "fail", detail, exc.hint))
            else:
                checks.append(Check(first, "warn", f"not checked: {exc.cause or exc.problem}"))
            checks += [not_checked(name) for name in others]
    return checks


def _steps(store: RedisSessionManager, mode: int | None, repair: bool) -> list[Step]:
    about_server = ("version", "persistence", "eviction", "memory")
    steps = [
        Step(("reachable",), lambda: [reachable(store)]),
        Step(("round trip",), lambda: [round_trip(store)]),
    ]
    if store.connections.is_memory:
        steps.append(Step((*about_server, "rights", "clock"), _in_memory))
    else:
        steps += [
            Step(about_server, lambda: about(store)),
            Step(("rights",), lambda: [rights(store)]),
            Step(("clock",), lambda: [clock(store)]),
        ]
    steps.append(Step(data.NAMES, lambda: data.data(fsck(store, repair=repair))))
    if mode is not None:
        steps.append(Step(("embedded server",), lambda: [embedded_server(store, mode)]))
    return steps


def reachable(store: RedisSessionManager) -> Check:
    """Tell whether it answers and lets us in. Raises MiniAgentError otherwise."""
    store.connect()
    client: Any = store.client
    with store.connections.translating():
        client.ping()
    return Check("reachable", "ok", f"{store.config.address} answers")


def round_trip(store: RedisSessionManager) -> Check:
    """Tell how long it takes to answer."""
    client: Any = store.client
    took: list[float] = []
    with store.connections.translating():
        while len(took) < _PINGS and sum(took) < _PING_LIMIT * 1000:
            started = time.perf_counter()
            client.ping()
            took.append((time.perf_counter() - started) * 1000)
    took.sort()
    middle, late = took[len(took) // 2], took[int(len(took) * 0.99)]
    detail = f"p50 {middle:.2f} ms, p99 {late:.2f} ms"
    if late < _SLOW_MS:
        return Check("round trip", "ok", detail)
    fix = "see SLOWLOG GET and LATENCY DOCTOR, or move the server nearer"
    return Check("round trip", "warn", detail, fix)


def about(store: RedisSessionManager) -> list[Check]:
    """Tell version, persistence, eviction and memory, as the server tells."""
    client: Any = store.client
    with store.connections.translating():
        info: dict[str, Any] = client.info()
    return [
        server.version(info),
        server.persistence(info, _config(store, "appendfsync", "save")),
        server.eviction(info),
        server.memory(info),
    ]


def _config(store: RedisSessionManager, *names: str) -> dict[str, str] | None:
    """Return settings of the server, or None where CONFIG is forbidden."""
    client: Any = store.client
    try:
        with store.connections.translating():
            return dict(client.config_get(*names))
    except StoreMisconfigured:
        return None


def _in_memory() -> list[Check]:
    return [
        not_checked("version", _NO_SERVER),
        Check(
            "persistence",
            "warn",
            "memory: nothing is kept when this process ends",
            "set REDIS_URL to a server, or to embedded://",
        ),
        *(not_checked(name, _NO_SERVER) for name in ("eviction", "memory", "rights", "clock")),
    ]


def clock(store: RedisSessionManager) -> Check:
    """Tell how far the server's clock and ours are apart; deadlines are by the server's."""
    client: Any = store.client
    with store.connections.translating():
        before = store.clock.time()
        seconds, micros = client.time()
        ours = (before + store.clock.time()) / 2
    skew = seconds + micros / 1e6 - ours
    if abs(skew) <= _SKEW:
        return Check("clock", "ok", f"{abs(skew):.1f} s apart")
    which = "ahead of" if skew > 0 else "behind"
    fix = "switch time synchronization on (timedatectl set-ntp true), here and there"
    return Check("clock", "warn", f"the server is {abs(skew):.1f} s {which} this machine", fix)


def _folder(store: RedisSessionManager) -> Path:
    path = store.config.address.path
    return Path(path) if path else default_dir()


def _mode(folder: Path) -> int:
    """Return the rights of the folder; 700 if it is not there yet, as it will be created so."""
    try:
        return stat.S_IMODE(folder.stat().st_mode)
    except OSError:
        return 0o700


def embedded_server(store: RedisSessionManager, mode: int) -> Check:
    """Tell where our own server keeps its data, how much, and who may read it.

    ``mode`` is what the folder's rights were before we attached, which closes it.
    """
    client: Any = store.client
    with store.connections.translating():
        info: dict[str, Any] = client.info()
        folder = Path(client.config_get("dir")["dir"])
    detail = (
        f"{folder}, process {info['process_id']}, "
        f"append-only file of {server.size(int(info.get('aof_current_size', 0)))}"
    )
    if (now := _mode(folder)) & 0o077:
        return Check(
            "embedded server", "fail", f"{detail}; others may enter (mode {now:o})",
            f"chmod 700 {folder}",
        )  # fmt: skip
    if mode & 0o077:
        detail += f"; others could enter until now (mode {mode:o}), which is closed"
        return Check("embedded server", "warn", detail, "find out what opened it, such as chmod -R")
    return Check("embedded server", "ok", f"{detail}, mode 700")
