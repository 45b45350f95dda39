"""One exchange with Redis: commands go out over a connection, and each is answered.

All that this library sends, scripts, commands and blocking reads, passes through here once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from redis import exceptions as rx

from ..errors import MiniAgentError
from .faults import Faults, ReplyLost, reason
from .link import LOST, Link, NotSent
from .pool import Pool
from .replicating import Replicas
from .topology import Command
from .wire import Forgotten, Probe

T = TypeVar("T")
Confirming = tuple[Replicas, str]
_RUN = "EVALSHA", "EVAL"


def exchange(
    pool: Pool,
    commands: Sequence[Command],
    nonce: bytes | None,
    faults: Faults,
    confirming: Confirming | None = None,
) -> list[Any]:
    """Send commands over a connection of the pool; return all replies, errors of Redis among them.

    ``confirming`` are the replicas that have to confirm what is written, and the mark for them.
    Raises ReplyLost, NotReplicated, or what the server refused the connection with.
    """
    link = connected(pool.take, faults)
    in_order, lacking = False, None
    try:
        if confirming is None:
            is_one = nonce is not None  # what is in front of a script only reads
            replies = _ask(link, commands, faults, pool.is_another_answered, is_one=is_one)
        else:
            replicas, mark = confirming
            send = partial(_ask, link, faults=faults, is_another_answered=pool.is_another_answered)
            replies, lacking = replicas.ask(link, commands, mark, send)
        in_order = nonce is None or are_answers(commands, replies, nonce)
    finally:
        pool.give(link, in_order=in_order)
    if not in_order:
        raise ReplyLost("the connection held another caller's reply")
    if lacking is not None:
        raise lacking
    return replies


def connected(connect: Callable[[], T], faults: Faults) -> T:
    """Return what ``connect`` does, or raise what its failure means."""
    try:
        return connect()
    except (*LOST, MiniAgentError) as exc:
        error = faults.before_sending(exc)
        if error is exc:
            raise  # it is no cause of itself
        raise error from exc


def _ask(
    link: Link,
    commands: Sequence[Command],
    faults: Faults,
    is_another_answered: Probe,
    *,
    is_one: bool = False,
) -> list[Any]:
    """Send over a connected link; one that was kept and is silent is given up for a new one.

    ``is_one``: nothing was done if the last of the commands was not.
    """
    try:
        return link.ask(commands, is_another_answered)
    except NotSent as exc:
        if is_one or len(commands) == 1:
            raise faults.not_sent(exc) from exc
        raise ReplyLost(reason(exc)) from exc  # of several, some may have been executed
    except (rx.BusyLoadingError, rx.AuthenticationError) as exc:
        # These are answers, though redis-py counts them among a connection's faults.
        raise faults.refusal(exc) from exc
    except Forgotten as exc:
        raise ReplyLost(reason(exc), is_outage=False, moves=_moves(link)) from exc
    except LOST as exc:
        raise ReplyLost(reason(exc), moves=_moves(link)) from exc


def _moves(link: Link) -> bool:
    return link.follows_master and link.is_outdated


def are_answers(commands: Sequence[Command], replies: Sequence[Any], nonce: bytes) -> bool:
    """Whether the replies to scripts are errors, or those of scripts which were given the nonce."""
    for command, reply in zip(commands, replies, strict=True):
        if command[0] not in _RUN or isinstance(reply, Exception):
            continue
        first = reply[0] if isinstance(reply, list) and reply else None
        if not isinstance(first, bytes) or first.partition(b" ")[0] != nonce:
            return False
    return True


def checked(replies: list[Any], faults: Faults) -> list[Any]:
    """Return the replies if there is no error among them; raise what it means otherwise."""
    for reply in replies:
        if isinstance(reply, rx.RedisError):
            raise faults.refusal(reply) from reply
    return replies
