"""How a test runs a coroutine, and how a coroutine waits for a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

LIMIT = 30  # seconds: generous, for waits that a right program ends at once


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, LIMIT))


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, LIMIT)
