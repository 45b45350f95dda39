"""Checks of several databases: which of them is used, and whether another one could be."""

from __future__ import annotations

from ..connection.topology.asking_databases import Databases, shown
from ..store.manager import RedisSessionManager
from .check import Check

NAME = "databases"


def databases(store: RedisSessionManager) -> Check:
    """Tell of each database whether it can be used, and which one this process uses."""
    asked = Databases(store.config)
    try:
        causes = {place: asked.ask(place, 1) for place in asked}
    finally:
        asked.close()
    at = store.parts.core.connections.connector.place("")
    used, first = (at.host, at.port), next(iter(causes))
    told = "; ".join(
        f"{shown(place)} {cause or ('is used' if place == used else 'can be used')}"
        for place, cause in causes.items()
    )
    count = sum(not cause for cause in causes.values())
    detail = f"{count} of {len(causes)} can be used: {told}"
    if count < len(causes):
        return Check(NAME, "warn", detail, "start it again, or see its log")
    if used != first:
        fix = "it is used again once it has answered for some seconds"
        return Check(NAME, "warn", f"{detail}; the first is back", fix)
    return Check(NAME, "ok", detail)
