"""Checks of Sentinels: whether they could replace the master, and whether a replica is ready."""

from __future__ import annotations

from typing import Any

from ..connection.topology.asking_sentinels import NoAnswer, Sentinels
from ..store.manager import RedisSessionManager
from .asking import asking
from .check import Check
from .server import in_step

_ENOUGH = 3
"""With fewer, the death of one host may leave no majority."""


def sentinels(store: RedisSessionManager) -> Check:
    """Tell how many Sentinels answer, and whether they could replace the master."""
    service, name = store.config.address.service, "sentinels"
    asked = Sentinels(store.config).each(("SENTINEL", "CKQUORUM", service))
    answers = dict(asked)
    silent = {where: told for where, told in answers.items() if isinstance(told, NoAnswer)}
    detail = f"{len(answers) - len(silent)} of {len(answers)} answer"
    for where, told in answers.items():
        if not isinstance(told, NoAnswer) and isinstance(told[0], Exception):
            if "NOQUORUM" not in str(told[0]):
                fix = "give our user there this right: +sentinel|ckquorum"
                return Check(name, "warn", f"{detail}; {where} said: {told[0]}", fix)
            fix = "start the others again; SENTINEL RESET makes them forget those that are gone"
            return Check(name, "fail", f"{detail}, and no failover can be: {told[0]}", fix)
    if silent:
        lines = "; ".join(f"{where}: {told.cause}" for where, told in silent.items())
        fix = "start them, or take them out of the url"
        return Check(name, "warn", f"{detail}; {lines}", fix)
    if len(answers) < _ENOUGH:
        fix = "run three or more, each on a host of its own, and name them all in the url"
        return Check(name, "warn", f"{detail}; others are not known here, if there are any", fix)
    return Check(name, "ok", f"{detail}, and can agree on a failover")


def replicas(store: RedisSessionManager) -> Check:
    """Tell whether a replica could take the master's place without losing more than a moment."""
    with asking(store) as client:
        info: dict[str, Any] = client.info("replication")
    ready, count = in_step(info), int(info.get("connected_slaves", 0))
    noun = "replica" if count == 1 else "replicas"
    if not count:
        fix = "start one, with replicaof and the address of the master"
        return Check("replicas", "fail", "none, so nobody can take over", fix)
    if not ready:
        fix = "see the logs of the replicas, and how much their network carries"
        return Check("replicas", "fail", f"{count} {noun}, none of them in step", fix)
    detail = f"{ready} of {count} {noun} in step"
    if ready < count:
        fix = "see the log of the others, and how much their network carries"
        return Check("replicas", "warn", detail, fix)
    return Check("replicas", "ok", detail)
