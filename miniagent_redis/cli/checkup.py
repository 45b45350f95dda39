"""Prints what the doctor finds: lines for people, JSON for machines."""

from __future__ import annotations

import json

from attrs import asdict, evolve

from ..config import RedisConfig
from ..diagnosis import Check, diagnose
from ..store.manager import RedisSessionManager
from .terminal import open_terminal
from .text import one_line

_PATIENCE = 1.0  # seconds: that a server is down is to be told soon, whatever programs wait for
_LONGEST = 300


def report_health(config: RedisConfig, *, repair: bool, as_json: bool) -> bool:
    """Check everything and print it; return whether no check failed."""
    config = evolve(
        config,
        socket_timeout=min(config.socket_timeout, _PATIENCE),
        socket_connect_timeout=min(config.socket_connect_timeout, _PATIENCE),
    )
    store = RedisSessionManager(config)
    try:
        checks = diagnose(store, repair=repair)
    finally:
        store.disconnect()
    healthy = all(check.verdict != "fail" for check in checks)
    terminal = open_terminal()
    if as_json:
        found = {"healthy": healthy, "checks": [asdict(check) for check in checks]}
        terminal.result(json.dumps(found, indent=2))
        return healthy
    width = max(len(check.name) for check in checks)
    for check in checks:
        terminal.result(_line(check, width))
    return healthy


def _line(check: Check, width: int) -> str:
    fix = f"  Fix: {check.fix}" if check.fix else ""
    detail = one_line(check.detail, _LONGEST)
    return f"{check.verdict:<4}  {check.name:<{width}}  {detail}{fix}"
