"""Chats as fast as it can, and logs each thing before it does it and again when it knows the end.

Arguments: URL, log file, a name that nobody had before, seed, sessions separated by commas. It
writes a dot to stdout for each of its turns that is stored, and ends when stdin does. Like a
careful user of the library it repeats a turn that failed, with the turn's id, until it is stored.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from contextlib import suppress
from itertools import count

from miniagent_redis import (
    InvalidInput,
    Message,
    MiniAgentError,
    RedisConfig,
    RedisSessionManager,
    StoreUnavailable,
    ToolCall,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from miniagent_redis.models import OpenTurn

TOOL_SHARE, REPEAT_SHARE = 0.3, 0.1
LEASE, COMMIT_TIMEOUT, BUSY_TIMEOUT = 0.7, 0.5, 10.0
PAUSE = 0.02
LIMIT = 60.0  # seconds without the store, which nothing here takes

url, path, name, seed, sessions = sys.argv[1:]
journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
dice = random.Random(int(seed))
store = RedisSessionManager(
    RedisConfig(url=url, lease_ttl=LEASE, commit_timeout=COMMIT_TIMEOUT, max_session_size=1 << 30)
)
attempts = count()
known: dict[str, tuple[int, int]] = {}
over = threading.Event()


def log(**record: object) -> None:
    """Add one line, which is there whatever happens to this process next."""
    os.write(journal, json.dumps(record).encode() + b"\n")


def steps_of(turn_id: str) -> list[Message]:
    """Return what a turn has before its answer: its id says all."""
    steps = [Message("user", f"question of {turn_id}")]
    if turn_id.endswith("t"):
        steps.append(Message("assistant", "", (ToolCall("c", "look_up", {"of": turn_id}),)))
        steps.append(Message("tool", f"result for {turn_id}", tool_call_id="c", name="look_up"))
    return steps


def ask(session: str, turn_id: str) -> bool:
    """Try to get the turn stored; finishes what others abandoned. Return whether it is stored."""
    while True:
        epoch, length = known.get(session, (None, 0))
        try:
            turn = store.begin_turn(
                session,
                steps_of(turn_id)[0],
                turn_id=turn_id,
                epoch=epoch,
                count=length,
                busy_timeout=BUSY_TIMEOUT,
            )
        except InvalidInput as exc:
            if "committed already" not in str(exc):
                raise
            log(known=turn_id)
            return True
        except MiniAgentError as exc:
            log(unopened=turn_id, error=type(exc).__name__)
            return False
        known[session] = turn.thread.epoch, turn.thread.count
        is_stored = finish(turn)
        if turn.turn_id == turn_id:
            return is_stored


def finish(turn: OpenTurn) -> bool:
    """Do what is left of the turn and commit it; return whether it is stored."""
    attempt = f"{name}/{next(attempts)}"
    answer = Message("assistant", f"answer of {attempt}")
    log(tries=attempt, turn=turn.turn_id, answer=answer.text)
    outcome, error, version = "not saved", "", 0
    try:
        for step in steps_of(turn.turn_id)[len(turn.staged) :]:
            turn = store.stage_step(turn, [step])
        outcome = "uncertain"  # from here on, unless we are told
        version = store.commit_turn(turn, [answer])
        outcome = "acknowledged"
    except TurnSuperseded:
        outcome = "superseded"
    except TurnNotSaved:
        outcome = "not saved"
    except MiniAgentError as exc:
        error = type(exc).__name__
    log(told=attempt, outcome=outcome, error=error)
    if outcome == "acknowledged":
        if dice.random() < REPEAT_SHARE:
            repeat(turn, answer, version)
        return True
    if outcome == "not saved":
        with suppress(MiniAgentError):
            store.abort_turn(turn)
    return outcome == "uncertain" and resolve(turn, attempt)


def repeat(turn: OpenTurn, answer: Message, version: int) -> None:
    """Commit what is stored once more, and begin it once more: neither may change anything."""
    try:
        if (again := store.commit_turn(turn, [answer])) != version:
            log(changed=turn.turn_id, what=f"version {version} became {again}")
    except (StoreUnavailable, TurnNotSaved, TurnUncertain):
        pass
    except MiniAgentError as exc:
        log(changed=turn.turn_id, what=f"committed once more: {exc}")
    try:
        other = store.begin_turn(
            turn.session_id, "again", turn_id=turn.turn_id, busy_timeout=BUSY_TIMEOUT
        )
        if other.turn_id == turn.turn_id:
            log(changed=turn.turn_id, what="it was begun again")
        else:
            finish(other)  # somebody's abandoned one
    except MiniAgentError:
        pass


def resolve(turn: OpenTurn, attempt: str) -> bool:
    """Ask what became of a turn until the store tells, or is gone for good."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            found = store.resolve_turn(turn.session_id, turn.turn_id)
        except StoreUnavailable:
            time.sleep(PAUSE)
            continue
        log(resolved=attempt, found=found)
        return found == "committed"
    return False


def chat() -> None:
    for number in count():
        turn_id = f"{name}-{number}" + ("t" if dice.random() < TOOL_SHARE else "")
        session = dice.choice(sessions.split(","))
        texts = [[step.role, step.text] for step in steps_of(turn_id)]
        log(asks=turn_id, session=session, texts=texts)
        began = time.monotonic()
        while not ask(session, turn_id):
            if over.wait(dice.uniform(PAUSE / 2, PAUSE)):
                return
        log(stored=turn_id, seconds=time.monotonic() - began)
        os.write(1, b".")
        if over.is_set():
            return


def listen() -> None:
    os.read(0, 1)
    over.set()


threading.Thread(target=listen, daemon=True).start()
chat()
