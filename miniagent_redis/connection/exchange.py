"""One exchange with Redis: commands go out over a connection, and each is answered.

All that this library sends, scripts, commands and blocking reads, passes through here once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import exceptions as rx

from .faults import Faults, ReplyLost, reason
from .link import LOST, Link, NotSent
from .topology import Command
from .wire import Forgotten, Probe


def exchange(
    link: Link,
    commands: Sequence[Command],
    faults: Faults,
    is_another_answered: Probe,
) -> list[Any]:
    """Send commands over a connected link and return all replies, errors of Redis among them.

    A kept link that is silent is given up if a new one is answered. Raises ReplyLost, or what the
    server refused the connection with.
    """
    try:
        return link.ask(commands, is_another_answered)
    except NotSent as exc:
        if len(commands) == 1:
            raise faults.not_sent(exc) from exc
        raise ReplyLost(reason(exc)) from exc  # of several, some may have been executed
    except (rx.BusyLoadingError, rx.AuthenticationError) as exc:
        # These are answers, though redis-py counts them among a connection's faults.
        raise faults.refusal(exc) from exc
    except Forgotten as exc:
        raise ReplyLost(reason(exc), is_outage=False) from exc
    except LOST as exc:
        raise ReplyLost(reason(exc)) from exc


def is_answer(reply: Any, nonce: bytes) -> bool:
    """Whether a reply is that of the script which was given the nonce."""
    first = reply[0] if isinstance(reply, list) and reply else None
    return isinstance(first, bytes) and first.partition(b" ")[0] == nonce


def checked(replies: list[Any], faults: Faults) -> list[Any]:
    """Return the replies if there is no error among them; raise what it means otherwise."""
    for reply in replies:
        if isinstance(reply, rx.RedisError):
            raise faults.refusal(reply) from reply
    return replies
