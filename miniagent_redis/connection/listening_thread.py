"""The thread that listens: it does what its owner has to do, and waits where that says so."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

log: logging.Logger = logging.getLogger("miniagent_redis")
LONGEST_PAUSE: Final = 0.25  # seconds


class Owner(Protocol):
    """Whoever the thread works for."""

    def take_turn(self, thread: object) -> Callable[[], object] | None:
        """Do all that can be done without waiting.

        Returns what waits for more to do, without holding the owner; None if that thread may end.
        """
        ...


def start(owner: Owner, thread: object) -> None:
    """Start a thread that stands for ``thread``, and holds its owner weakly."""
    about, name = (weakref.ref(owner), thread), "miniagent-redis-listening"
    threading.Thread(target=_listen, args=about, name=name, daemon=True).start()


def _listen(reference: weakref.ref[Owner], thread: object) -> None:
    # A function of its own: a thread that knew whom it listens for would keep it alive.
    while (owner := reference()) is not None:
        try:
            wait = owner.take_turn(thread)
        except Exception:
            log.exception("listening goes on after a fault of its own")
            wait = partial(time.sleep, LONGEST_PAUSE)
        del owner
        if wait is None:
            return
        wait()
