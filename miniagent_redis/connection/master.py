"""Which server is the master, as servers say themselves by their ROLE.

A Sentinel may be wrong, and what was a master is none after a failover. Its data grows old then,
and it answers all the same. Worse: until Sentinels make a replica of it, some ten seconds after it
was replaced, it calls itself the master and takes writes that nobody will see. But its replicas
have left it by then, which its ROLE shows: one that has left is asked whether it is the master now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import MiniAgentError, StoreUnavailable
from .link import LOST, Link
from .topology import NotThere

Place = tuple[str, int]
ROLE = ("ROLE",)
FRESH: float = 0.5
"""Seconds after its last word in which a server is taken to be the master still."""
_WAIT = "after a failover this passes by itself; SENTINEL MASTER tells how that goes"


def is_master(role: Any) -> bool:
    """Whether the reply to ROLE is that of a master."""
    return isinstance(role, list) and bool(role) and role[0] in (b"master", "master")


class Watch:
    """The master that is followed, and its replicas. Safe for threads.

    ``link_to`` makes a connection to any of the servers, not connected yet.
    """

    def __init__(self, link_to: Callable[[Place], Link]) -> None:
        self._link_to = link_to
        self._followed: tuple[Place, frozenset[Place]] = (("", 0), frozenset())
        self._usual: tuple[Place, list[Any]] = (("", 0), [])  # what needs no second look

    def meet(self, place: Place, role: Any) -> None:
        """Note what the server said to which a connection was made.

        Raises NotThere if it is no master, or if one of its replicas has left it and is one now.
        """
        where = "{}:{}".format(*place)
        if not is_master(role):
            said = role[0] if isinstance(role, list) and role else role
            kind = said.decode() if isinstance(said, bytes) else said
            problem = f"the server at {where} that the Sentinels name is no master"
            raise NotThere(_unavailable(problem, f"it says that its role is {kind}"))
        followed, known = self._followed
        replicas = _replicas(role)
        for replica in known - replicas if followed == place else ():
            if self._is_master(replica):
                problem = f"the server at {where} is replaced as the master"
                cause = "{}:{} took over, and the Sentinels do not name it yet".format(*replica)
                raise NotThere(_unavailable(problem, cause))
        self._followed = place, replicas

    def is_same(self, place: Place, role: Any) -> bool:
        """Whether a server is still the master that is followed, with all its replicas."""
        followed, known = self._followed
        if followed != place or not is_master(role):
            return False
        names = [replica[:2] for replica in role[2]]
        if self._usual == (place, names):
            return True
        replicas = _replicas(role)
        if replicas > known:
            self._followed = place, replicas
        if replicas >= known:
            self._usual = place, names
        return replicas >= known

    def _is_master(self, place: Place) -> bool:
        link = self._link_to(place)
        try:
            link.connect()
            link.send_command(*ROLE, check_health=False)
            return is_master(link.read_response())
        except (*LOST, MiniAgentError):
            return False
        finally:
            link.disconnect()


def _unavailable(problem: str, cause: str) -> StoreUnavailable:
    return StoreUnavailable(problem, cause=cause, hint=_WAIT)


def _replicas(role: Any) -> frozenset[Place]:
    return frozenset((_text(host), int(port)) for host, port, *_ in role[2])


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
