"""What Redis may refuse a command with: each cause, and what cures it. One table.

What is in no row is told as it was replied.
"""

from __future__ import annotations

from attrs import frozen
from redis import exceptions as rx


@frozen
class Refusal:
    """A row: the code that the reply begins with, or a part of its text.

    ``problem`` and ``hint`` may name the ``{address}``, the ``{db}`` and the ``{user}``. A refusal
    that is ``passing`` may be gone in a moment, and what was refused is tried again; any other is a
    wrong configuration. ``refuses_writes``: what only reads is answered. ``moves``: the server that
    we want may be another one by now, so connections to this one are given up.
    """

    says: str
    problem: str
    hint: str
    passing: bool = False
    refuses_writes: bool = False
    moves: bool = False

    @property
    def reply(self) -> rx.ResponseError:
        """What Redis replies, for a script that found out itself."""
        return rx.ResponseError(self.says)


_GIVE_RIGHTS = (
    "give the user {user} these rights by ACL SETUSER; miniagent-redis doctor prints the ACL "
    "SETUSER command"
)
_CLUSTER = Refusal(
    "",
    "Redis at {address} is a node of a cluster",
    "set the url redis+cluster://HOST:PORT, or name a server of its own",
)
NOT_LET_IN = "Redis at {address} does not let us in"
NEEDED = "it must be Redis or Valkey of version 7.0 or newer"
UNKNOWN = Refusal(
    "unknown command",
    "Redis at {address} does not know a command that we need",
    f"{NEEDED}, with no command renamed",
)
TOO_OLD = Refusal(
    "unexpected symbol near '#'",
    "Redis at {address} does not know scripts as we need them",
    f"it, or the server of a proxy there, is too old: {NEEDED}",
)
WRONG_TYPE = Refusal(
    "WRONGTYPE",
    "one of our keys holds another type of value",
    "something else than this library wrote it, and it was left as it is: remove or rename "
    "that key, or set a namespace of your own",
)
REFUSALS = (
    Refusal("NOPERM", NOT_LET_IN, _GIVE_RIGHTS),
    Refusal("can't run this command or subcommand", NOT_LET_IN, _GIVE_RIGHTS),  # inside a script
    Refusal("can't access at least one of the keys", NOT_LET_IN, _GIVE_RIGHTS),
    Refusal("ACL failure in script", NOT_LET_IN, _GIVE_RIGHTS),
    Refusal(
        "DENIED",
        NOT_LET_IN,
        "it is in protected mode: set a password there, or connect from its own machine",
    ),
    Refusal(
        "DB index is out of range",
        "Redis at {address} has no database {db}",
        "choose a smaller db (most servers have 0 to 15), or raise `databases` there",
    ),
    Refusal(
        "SELECT is not allowed in cluster mode",
        "Redis at {address} is a node of a cluster, which has only database 0",
        _CLUSTER.hint,
    ),
    Refusal("MOVED", _CLUSTER.problem, _CLUSTER.hint),
    Refusal("ASK", _CLUSTER.problem, _CLUSTER.hint),
    Refusal("CROSSSLOT", _CLUSTER.problem, _CLUSTER.hint),
    UNKNOWN,
    TOO_OLD,
    WRONG_TYPE,
    Refusal(
        "max number of clients",
        "Redis at {address} takes no more clients",
        "raise `maxclients` there, or lower max_connections in the programs that use it",
        passing=True,
    ),
    Refusal(
        "READONLY",
        "Redis at {address} is a replica and takes no writes",
        "connect to its master; after a failover this passes by itself",
        passing=True,
        refuses_writes=True,
        moves=True,
    ),
    Refusal(
        "OOM",
        "Redis at {address} has no memory left and takes no writes",
        "raise `maxmemory` there, or end sessions",
        passing=True,
        refuses_writes=True,
    ),
    Refusal(
        "NOREPLICAS",
        "Redis at {address} has too few replicas to take writes",
        "bring its replicas back, or lower `min-replicas-to-write` there",
        passing=True,
        refuses_writes=True,
        moves=True,
    ),
    Refusal(
        "MISCONF",
        "Redis at {address} cannot save to its disk and takes no writes",
        "make room on that disk, or mend what its log says",
        passing=True,
        refuses_writes=True,
    ),
    Refusal(
        "LOADING",
        "Redis at {address} is loading its data",
        "wait until it is done; INFO persistence tells how long that takes",
        passing=True,
        moves=True,
    ),
    Refusal(
        "MASTERDOWN",
        "Redis at {address} is a replica without its master",
        "see to its link to the master; after a failover this passes by itself",
        passing=True,
        moves=True,
    ),
    Refusal(
        "UNBLOCKED",
        "Redis at {address} ended a blocked command",
        "it became a replica, or somebody sent CLIENT UNBLOCK; this passes by itself",
        passing=True,
        moves=True,
    ),
    Refusal(
        "CLUSTERDOWN",
        "the cluster of Redis at {address} is down",
        "CLUSTER INFO there tells which slots no node serves",
        passing=True,
        moves=True,
    ),
    Refusal(
        "TRYAGAIN",
        "the cluster of Redis at {address} is moving our keys",
        "this passes by itself, once the slot has moved",
        passing=True,
    ),
    Refusal(
        "BUSY ",
        "Redis at {address} is busy with a script",
        "SCRIPT KILL there ends it, if it has written nothing",
        passing=True,
    ),
)
REDIRECTED = Refusal(
    "",
    "the cluster of Redis at {address} sends us from node to node",
    "this passes by itself, once its nodes agree who serves what",
    passing=True,
)
OTHER = Refusal(
    "",
    "Redis at {address} refused the command",
    "miniagent-redis doctor tells what the server lacks",
)
# redis-py takes the code off the message of those that it has a class for.
_CODES: tuple[tuple[type[rx.RedisError], str], ...] = (
    (rx.NoPermissionError, "NOPERM"),
    (rx.ReadOnlyError, "READONLY"),
    (rx.OutOfMemoryError, "OOM"),
    (rx.BusyLoadingError, "LOADING"),
    (rx.MasterDownError, "MASTERDOWN"),
    (rx.MovedError, "MOVED"),
    (rx.AskError, "ASK"),
    (rx.TryAgainError, "TRYAGAIN"),
    (rx.ClusterCrossSlotError, "CROSSSLOT"),
    (rx.ClusterDownError, "CLUSTERDOWN"),
)


def find_refusal(exc: Exception) -> Refusal:
    """Return the row of an error that Redis replied."""
    text = next((code for kind, code in _CODES if isinstance(exc, kind)), str(exc))
    for refusal in REFUSALS:
        if text.startswith(refusal.says) or (refusal.says[0].islower() and refusal.says in text):
            return refusal
    return OTHER


def refusal_behind(error: BaseException) -> Refusal | None:
    """Return the row of the reply that an error of ours was raised for; None if there was none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (rx.ResponseError, rx.BusyLoadingError)):
            return find_refusal(cause)
        cause = cause.__cause__
    return None


def is_forbidden(error: BaseException) -> bool:
    """Whether an error of ours was raised because our user lacks a right."""
    refusal = refusal_behind(error)
    return refusal is not None and refusal.hint == _GIVE_RIGHTS


def is_of_command(exc: Exception) -> bool:
    """Whether another command may be answered by the server that replied this."""
    refusal = find_refusal(exc)
    return refusal in (UNKNOWN, OTHER) or refusal.hint == _GIVE_RIGHTS


def is_of_another(exc: Exception) -> bool:
    """Whether a new connection may lead to a server that does not reply this, or be let in there.

    That the server answered is then no proof of a good connection.
    """
    return isinstance(exc, rx.AuthenticationError) or find_refusal(exc).moves
