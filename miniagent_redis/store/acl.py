"""The rule that gives a user of Redis what this library does in a namespace, and nothing else."""

from __future__ import annotations

from typing import Literal

from ..config.address import Address
from ..config.durability import DURABILITIES, Durability
from ..errors import InvalidInput
from .keys import Keys

Topology = Literal["server", "sentinel", "cluster"]
COMMANDS = (
    "evalsha", "eval", "time", "ping", "select",
    "get", "set", "strlen", "exists", "type", "del",
    "expire", "ttl", "pexpire", "pexpireat", "pexpiretime", "pttl", "persist",
    "lpush", "rpush", "lpop", "rpop", "lrange", "llen", "lindex",
    "hset", "hget", "hmget", "hdel", "hgetall", "hlen", "hincrby",
    "xadd", "xrange", "xrevrange",
    "zadd", "zrem", "zrange", "zrangebyscore", "zscore",
    "publish", "subscribe", "unsubscribe",
)  # fmt: skip
"""What the library and its scripts send; HELLO and AUTH are allowed to everybody."""

DOCTORS = ("info", "scan", "zscan", "hkeys", "memory|usage", "acl|whoami", "acl|dryrun")
"""What only the doctor sends. SCAN shows the names of all keys, those of other namespaces too."""


TOPOLOGIES: dict[Topology, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "server": ((), ()),
    "sentinel": (("role",), ()),
    "cluster": (
        ("cluster|slots", "asking", "spublish", "ssubscribe", "sunsubscribe"),
        ("cluster|info",),
    ),
}
"""What is sent beside where Redis is run so: always, and by the doctor. ``server`` is one alone."""

FOR_DURABILITY: dict[Durability | None, tuple[str, ...]] = {
    "everysec": ("config|get",),
    "always": ("config|get",),
    "replicated": ("role", "wait"),
}
"""What is sent beside where so much durability is demanded."""


def topology(address: Address) -> Topology:
    """Return how Redis is run at an address."""
    names: dict[str, Topology] = {"redis+sentinel": "sentinel", "redis+cluster": "cluster"}
    return names.get(address.kind, "server")


def acl_rule(
    namespace: str = "",
    *,
    topology: Topology = "server",
    durability: Durability | None = None,
    doctor: bool = True,
) -> list[str]:
    """Return the least rights that a user of Redis needs for a namespace, as words of ACL SETUSER.

    Its keys, its channels, and the commands that the library sends: ``client.execute_command("ACL",
    "SETUSER", "app", "reset", "on", ">password", *acl_rule("acme"))``, on the connection of an
    administrator. Without a namespace the keys and channels are all there are. With
    ``doctor=False`` the commands of the doctor and of fsck are left out, of which SCAN shows the
    names of all keys in the database. ``topology`` is how Redis is run: ``"server"``,
    ``"sentinel"`` or ``"cluster"``, where each node needs it, replicas too; ``durability`` what is
    demanded. Raises InvalidInput for what is none of these, and for what is no namespace.
    """
    if topology not in TOPOLOGIES:
        raise InvalidInput(f"topology={topology!r:.100} is none of {', '.join(TOPOLOGIES)}")
    if durability not in (None, *DURABILITIES):
        raise InvalidInput(f"durability={durability!r:.100} is none of {', '.join(DURABILITIES)}")
    always, asked = TOPOLOGIES[topology]
    ns = Keys(namespace).ns
    commands = (*COMMANDS, *always, *FOR_DURABILITY.get(durability, ()))
    commands += (*DOCTORS, *asked) if doctor else ()
    # "acme:*" is a pattern, in which a name of a namespace has no character with a meaning.
    return [f"~{ns}*", f"&{ns}*", *(f"+{command}" for command in dict.fromkeys(commands))]
