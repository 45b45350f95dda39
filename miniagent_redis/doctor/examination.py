"""Goes through all checks of one store, in an order in which each stands on those before."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from ..connection.refusals import refusal_behind
from ..embedded.attach import default_dir
from ..errors import MiniAgentError, StoreMisconfigured, StoreUnavailable
from ..maintenance.spool import Spool
from ..store.manager import RedisSessionManager
from . import certificates, cluster, data, databases, sentinels, server
from .answers import ABOUT, about, clock, protocol, reachable, round_trip
from .asking import answers_ping, asking, is_answered, is_cluster
from .check import Check, not_checked
from .fsck import Finding, Tell
from .fsck import check as fsck
from .refused import failed, unmade
from .rights import rights
from .sizes import sessions
from .spool import spool
from .turn import turn

_LEFT = "the data is left out"
_NO_SERVER = "memory:// is in this process, there is no server to ask"


@frozen
class Step:
    """A function that makes the checks of these names."""

    names: tuple[str, ...]
    run: Callable[[], list[Check]]


def diagnose(store: RedisSessionManager, *, repair: bool = False) -> list[Check]:
    """Return all checks of a store, as ``examine`` makes them."""
    return list(examine(store, repair=repair))


def examine(
    store: RedisSessionManager,
    *,
    repair: bool = False,
    with_data: bool = True,
    with_turn: bool = True,
    tell: Tell = lambda done: None,
) -> Iterator[Check]:
    """Yield all checks of a store, each when it is made; ``repair`` mends what fsck can mend.

    Never raises what the store raises: a check that cannot be made says so, and when the server
    stops answering those after it are skipped. When it does not answer at all, that takes as long
    as one connection and one reply may take: ``socket_connect_timeout`` + ``socket_timeout``.
    ``with_turn``: a turn is made on a session of its own, which is removed at once; without that
    and ``repair`` nothing is written. The last steps read all that is stored, if ``with_data``: see
    ``fsck.check``, which calls ``tell`` with how far it has come.
    """
    mode = _mode(_folder(store)) if store.config.address.kind == "embedded" else None
    lost = False
    if store.config.spool_dir:
        spooled = Spool(store.config.spool_dir, store.parts)
        yield spool(spooled.folder, spooled.backlog())
    look = partial(fsck, store, repair=repair, tell=tell) if with_data else None
    measure = partial(sessions, store, tell)
    for step in _steps(store, mode, look, measure, with_turn=with_turn):
        if lost:
            yield from (not_checked(name) for name in step.names)
            continue
        try:
            yield from step.run()
        except MiniAgentError as exc:
            first, *others = step.names
            if first == "reachable":
                does_less = isinstance(exc, StoreMisconfigured) and answers_ping(store)
                lost = refusal_behind(exc) is None and not does_less
                yield failed(store, first, exc)
            elif lost := isinstance(exc, StoreUnavailable) and not is_answered(store, exc):
                yield failed(store, first, exc)
                yield from (not_checked(name) for name in others)
            else:
                yield from (unmade(store, name, exc) for name in step.names)


def _steps(
    store: RedisSessionManager,
    mode: int | None,
    look: Callable[[], list[Finding]] | None,
    measure: Callable[[], Check],
    *,
    with_turn: bool,
) -> list[Step]:
    steps = [
        Step(("reachable",), lambda: [reachable(store)]),
        Step(("round trip",), lambda: [round_trip(store)]),
    ]
    is_memory = store.parts.core.connections.is_memory
    if is_memory:
        steps.append(Step(("protocol", *ABOUT, "rights", "clock"), _in_memory))
    else:
        steps += [
            Step(("protocol",), lambda: [protocol(store)]),
            Step(ABOUT, lambda: about(store)),
            Step(("rights",), lambda: [rights(store)]),
            Step(("clock",), lambda: [clock(store)]),
        ]
    if store.config.address.is_tls:
        steps.append(Step((certificates.NAME,), lambda: [certificates.certificate(store)]))
        if store.config.ssl_certfile is not None:
            steps.append(Step((certificates.OURS,), lambda: [certificates.ours(store)]))
    if is_cluster(store):
        steps.insert(2, Step(cluster.NAMES, lambda: cluster.cluster(store)))
    if store.config.address.kind == "redis+sentinel":
        steps.append(Step(("sentinels",), lambda: [sentinels.sentinels(store)]))
        steps.append(Step(("replicas",), lambda: [sentinels.replicas(store)]))
    if store.config.address.kind == "redis+multidb":
        steps.append(Step((databases.NAME,), lambda: [databases.databases(store)]))
    if with_turn:
        steps.append(Step(("turn",), lambda: [turn(store)]))
    else:
        steps.append(Step(("turn",), lambda: [not_checked("turn", "it would write")]))
    if look is not None:
        steps.append(Step(data.NAMES, lambda: data.data(look())))
        unknown = not_checked("sessions", _NO_SERVER)
        steps.append(Step(("sessions",), lambda: [unknown if is_memory else measure()]))
    else:
        names = (*data.NAMES, "sessions")
        steps.append(Step(names, lambda: [not_checked(name, _LEFT) for name in names]))
    if mode is not None:
        steps.append(Step(("embedded server",), lambda: [embedded_server(store, mode)]))
    return steps


def _in_memory() -> list[Check]:
    kept = Check(
        "persistence",
        "warn",
        "memory: nothing is kept when this process ends",
        "set REDIS_URL to a server, or to embedded://",
    )
    names = ("protocol", *ABOUT, "rights", "clock")
    return [kept if name == "persistence" else not_checked(name, _NO_SERVER) for name in names]


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
    with asking(store) as client:
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
