"""Prints what the doctor finds: lines for people, JSON for machines."""

from __future__ import annotations

import json
import time

from attrs import asdict, evolve

from ..config.redis import RedisConfig
from ..doctor import Check, examine, left_out, verdict
from ..doctor.fsck import REPAIR
from ..store.manager import RedisSessionManager
from .terminal import Terminal, open_terminal
from .text import one_line

_PATIENCE = 1.0  # seconds: that a server is down is to be told soon, whatever programs wait for
_LONGEST = 300
_TO_PEOPLE, _TO_LOGS = 2.0, 20.0  # seconds


def report_health(
    config: RedisConfig,
    *,
    repair: bool,
    with_data: bool,
    with_turn: bool = True,
    as_json: bool,
    again: str = REPAIR,
) -> bool:
    """Check everything and print it, each line when it is known; return whether no check failed.

    ``again`` is what to type to have it mended.

    What was not checked is one line at the end, and the verdict is the last.
    """
    config = evolve(
        config,
        socket_timeout=min(config.socket_timeout, _PATIENCE),
        socket_connect_timeout=min(config.socket_connect_timeout, _PATIENCE),
    )
    store = RedisSessionManager(config)
    terminal = open_terminal()
    is_wide = config.address.kind == "embedded" or config.ssl_certfile is not None
    width = len("embedded server" if is_wide else "persistence")
    checks: list[Check] = []
    try:
        tell = Progress(terminal).tell
        for check in examine(
            store, repair=repair, with_data=with_data, with_turn=with_turn, tell=tell
        ):
            check = evolve(check, fix=check.fix.replace(REPAIR, again))
            checks.append(check)
            if not as_json and check.verdict != "skip":
                terminal.result(_line(check, width))
    finally:
        store.disconnect()
    last = verdict(checks)
    if as_json:
        found = {
            "healthy": last.verdict != "fail",
            "verdict": last.verdict,
            "summary": last.detail,
            "checks": [asdict(check) for check in checks],
        }
        terminal.result(json.dumps(found, indent=2))
        return last.verdict != "fail"
    for line in filter(None, (left_out(checks), last)):
        terminal.result(_line(line, width))
    return last.verdict != "fail"


def _line(check: Check, width: int) -> str:
    fix = f"  Fix: {check.fix}" if check.fix else ""
    detail = one_line(check.detail, _LONGEST)
    return f"{check.verdict:<4}  {check.name:<{width}}  {detail}{fix}"


class Progress:
    """Says how far something has come, if it takes long: often to people, else now and then."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._pause = _TO_PEOPLE if terminal.is_seen else _TO_LOGS
        self._next = time.monotonic() + self._pause

    def tell(self, done: str) -> None:
        """Print it, if it is time to."""
        if (now := time.monotonic()) >= self._next:
            self._next = now + self._pause
            self._terminal.note(done)
