"""Does everything to a few sessions that others use too, and logs each call before and after it.

Arguments: URL, log file, a name that nobody had before, seed, sessions separated by commas, of
which the first is used most. It writes a dot to stdout for each operation that was done, or may
have been, and ends when stdin does. What a call writes is its token, which nobody else writes.
support/told.py judges.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from miniagent_redis import (
    Message,
    MiniAgentError,
    RedisConfig,
    RedisSessionManager,
    SessionNotFound,
    StoreUnavailable,
    TurnSuperseded,
    TurnUncertain,
    errors,
)

UNSURE = (TurnUncertain, getattr(errors, "OutcomeUnknown", TurnUncertain))
LEASE, COMMIT_TIMEOUT, BUSY_TIMEOUT = 0.7, 1.5, 5.0
PAUSE, LIMIT = 0.02, 20.0  # seconds

url, path, name, seed, sessions = sys.argv[1:]
journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
dice = random.Random(int(seed))
store = RedisSessionManager(
    RedisConfig(url=url, lease_ttl=LEASE, commit_timeout=COMMIT_TIMEOUT, max_session_size=1 << 30)
)
numbers = count()
first_over: dict[str, float] = {}
"""When the first try of each operation was over, of which there were more in this call."""
last_over: dict[str, float] = {}
failed: set[str] = set()
"""The operations of which a try failed in this call; the others had to wait for somebody."""


def watch_tries() -> None:
    connections: Any = store.parts.core.connections
    persist = connections.persist

    def watched(attempt: Callable[[], Any], *args: Any, operation: str, **more: Any) -> Any:
        def tried() -> Any:
            if operation in last_over:
                first_over.setdefault(operation, last_over[operation])
            try:
                return attempt()
            except BaseException:
                failed.add(operation)
                raise
            finally:
                last_over[operation] = time.time()

        return persist(tried, *args, operation=operation, **more)

    connections.persist = watched


def log(**record: object) -> None:
    """Add one line, which is there whatever happens to this process next."""
    os.write(journal, json.dumps(record).encode() + b"\n")


def call(
    kind: str, script: str, session: str, make: Callable[[str], Any], **more: object
) -> tuple[str, Any]:
    """Make a call that writes its token; log what was meant, and what was told.

    Returns "ok" and the result, "unsure" or "not", "gone" (there is no such session), and the
    error.
    """
    token = f"{name}/{next(numbers)}"
    first_over.clear()
    last_over.clear()
    failed.clear()
    log(call=token, kind=kind, session=session, start=time.time(), **more)
    error: MiniAgentError | None = None
    result: Any = None
    try:
        result = make(token)
        outcome = "gone" if result is False else "ok"
    except SessionNotFound as exc:
        outcome, error = "gone", exc
    except UNSURE as exc:
        outcome, error = "unsure", exc
    except TurnSuperseded as exc:
        # Told of a beginning: others have finished the turn meanwhile.
        outcome, error = ("unsure" if kind == "begin" else "not"), exc
    except MiniAgentError as exc:
        outcome, error = "not", exc
    log(
        told=token,
        outcome=outcome,
        error=type(error).__name__ if error else "",
        end=time.time(),
        first_over=first_over.get(script),
        has_failed=script in failed,
    )
    if isinstance(error, TurnUncertain):
        resolve(token, error)
    return outcome, result if error is None else error


def resolve(token: str, error: TurnUncertain) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            found = store.resolve_turn(error.session_id, error.turn_id)
        except StoreUnavailable:
            time.sleep(PAUSE)
        except (SessionNotFound, TurnUncertain):
            return
        else:
            return log(resolved=token, found=found)


def append(session: str) -> str:
    def make(token: str) -> object:
        return store.append_to_thread(session, Message("user", token))

    return call("append", "append_messages", session, make)[0]


def turn(session: str) -> str:
    """Take a turn, behind those that others have abandoned."""
    while True:
        outcome, opened = call(
            "begin",
            "begin_turn",
            session,
            lambda token: store.begin_turn(session, token, busy_timeout=BUSY_TIMEOUT),
        )
        if outcome != "ok":
            return outcome

        def commit(token: str, opened: Any = opened) -> object:
            return store.commit_turn(opened, [Message("assistant", token)])

        outcome, _ = call("commit", "commit_turn", session, commit, epoch=opened.thread.epoch)
        if outcome == "not":
            with suppress(MiniAgentError):
                store.abort_turn(opened)
        if outcome != "ok" or not opened.resumed:
            return outcome


def update(session: str) -> str:
    def make(token: str) -> object:
        return store.update_session(session, {"token": token})

    return call("update", "update_session", session, make)[0]


def clear(session: str) -> str:
    def make(_: str) -> object:
        return store.clear_thread(session) + 1

    return call("clear", "clear_thread", session, make)[0]


def delete(session: str) -> str:
    return call("delete", "delete_session", session, lambda _: store.delete_session(session))[0]


def create(session: str) -> str:
    def make(token: str) -> object:
        return store.create_session(session, agent_name=token)

    return call("create", "create_session", session, make)[0]


MIX = {append: 45, turn: 22, update: 28, clear: 2, delete: 1, create: 2}
"""Of a hundred. Sessions live long enough for repetitions to come after many others' operations."""
over = threading.Event()


def listen() -> None:
    os.read(0, 1)
    over.set()


watch_tries()
threading.Thread(target=listen, daemon=True).start()
while not over.is_set():
    names = sessions.split(",")
    session = names[min(int(dice.expovariate(1)), len(names) - 1)]
    (operation,) = dice.choices(list(MIX), list(MIX.values()))
    outcome = operation(session)
    if outcome == "gone":
        outcome = create(session)
    if outcome == "not":
        over.wait(PAUSE)
    else:
        os.write(1, b".")
