"""Every Redis key, in one place. No other module spells a key.

``{id}`` is a Redis Cluster hash tag: all keys of a session share a slot, so that one script may
touch them all. ``ns`` is the optional namespace with a colon behind it.

| key                        | type    | written by                      | expires                 |
|----------------------------|---------|---------------------------------|---------------------------|
| ns session:{id}            | string  | create, update                  | at the deadline         |
| ns thread:{id}             | list    | commit, append, clear           | deadline + grace        |
| ns turn:{id}               | list    | begin, stage, commit, abort     | deadline + grace        |
| ns metadata:{id}           | hash    | every session script            | deadline + grace        |
| ns ops:{id}                | hash    | commit, append, clear, update   | deadline + grace        |
| ns events:{id}             | stream  | every session script            | deadline + grace        |
| ns user:{user}:sessions    | zset    | create, activity marks, end     | never; see below        |
| ns sessions:{shard}        | zset    | create, activity marks, end     | never; see below        |
| ns deadlines:{shard}       | zset    | create, marks, end, sweep       | never; see below        |
| ns cache:<key>             | string  | cache_set                       | its own TTL             |
| lock:ns<name>              | string  | python-redis-lock               | its own TTL             |
| lock-signal:ns<name>       | list    | python-redis-lock               | a second after release  |
| ns rate_limit:{key}        | hash    | rate_limit                      | two windows             |
| ns rate_limit:{limits}:…   | hash    | AgentConfig(rate_limits=…)      | two windows             |
| ns usage:{totals}:…        | hash    | usage flush                     | 400 days after last use |
| ns usage:{totals}:batch:…  | string  | usage flush                     | a day after last use    |

The sweep takes a session out of all three indexes when it has expired, and prunes entries with no
session behind them from the last two; listings prune those from the index that they read. In the
last one a score is a deadline in ms, or, when it ends in .5, when a sweep's claim on it ends.

Beside them the pub/sub channels ``ns events:{id}`` (wakes whoever waits for the session) and
``ns session_updates`` (one JSON note per changed session).
"""

from __future__ import annotations

import re
import zlib
from hashlib import sha256
from urllib.parse import quote

from .errors import InvalidInput

SHARDS = 16
GRACE_MS = 3_600_000
"""How long a session's thread outlives its deadline, so that expiry hooks can read it: 1 hour."""

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_NAME = 200


def check_session_id(session_id: object, what: str = "a session id") -> str:
    """Return the id, or raise InvalidInput unless it is ``[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}``.

    Turn and operation ids follow the same rule; ``what`` names them in the error.
    """
    if isinstance(session_id, str) and _SESSION_ID.fullmatch(session_id):
        return session_id
    shown = repr(session_id)
    raise InvalidInput(
        f"{shown if len(shown) <= 60 else shown[:60] + '…'} is not {what}",
        cause="an id is 1 to 128 of A-Z a-z 0-9 . _ : @ - and starts with a letter or digit",
        hint="leave the id out to get a generated one",
    )


def check_user_id(user_id: object) -> bytes:
    """Return the user id as the bytes stored for comparison; any text but an empty one is one."""
    if isinstance(user_id, str) and user_id:
        return user_id.encode("utf-8", "surrogatepass")
    raise InvalidInput(
        f"user_id must be a text that is not empty, not {str(user_id)[:60]!r}",
        hint="leave it out for a session without an owner",
    )


def encode_name(name: object, what: str) -> str:
    """Return any text as part of a key: percent-encoded, or a SHA-256 digest when it is long."""
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{what} must be a text that is not empty, not {str(name)[:60]!r}")
    raw = name.encode("utf-8", "surrogatepass")
    encoded = quote(raw, safe="@:") if len(raw) <= _LONGEST_NAME else ""
    if encoded and len(encoded) <= _LONGEST_NAME:
        return encoded
    # "%s" never starts a percent-encoded byte, so a digest cannot be mistaken for a name.
    return "%sha256:" + sha256(raw).hexdigest()


class Keys:
    """Builds the keys of one namespace."""

    def __init__(self, namespace: str = "") -> None:
        if namespace != "" and not (isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace)):
            raise InvalidInput(
                f"{str(namespace)[:60]!r} is not a namespace",
                cause="a namespace is 1 to 64 of A-Z a-z 0-9 . _ -",
            )
        self.ns = f"{namespace}:" if namespace else ""

    def of_session(self, session_id: str) -> list[str]:
        """Return the six keys of a session, in the order in which every session script takes them.

        session, thread, turn, metadata, ops, events.
        """
        tag = "{" + session_id + "}"
        ns = self.ns
        return [
            f"{ns}session:{tag}",
            f"{ns}thread:{tag}",
            f"{ns}turn:{tag}",
            f"{ns}metadata:{tag}",
            f"{ns}ops:{tag}",
            f"{ns}events:{tag}",
        ]

    def session(self, session_id: str) -> str:
        return f"{self.ns}session:{{{session_id}}}"

    def metadata(self, session_id: str) -> str:
        return f"{self.ns}metadata:{{{session_id}}}"

    def events(self, session_id: str) -> str:
        """Return the event stream, and the channel, of a session."""
        return f"{self.ns}events:{{{session_id}}}"

    def user_sessions(self, user_id: str) -> str:
        return f"{self.ns}user:{{{encode_name(user_id, 'user_id')}}}:sessions"

    def shard(self, session_id: str) -> int:
        return zlib.crc32(session_id.encode()) % SHARDS

    def sessions(self, shard: int) -> str:
        return f"{self.ns}sessions:{{{shard}}}"

    def deadlines(self, shard: int) -> str:
        return f"{self.ns}deadlines:{{{shard}}}"

    def cache(self, key: str) -> str:
        return f"{self.ns}cache:{encode_name(key, 'cache key')}"

    def cache_lock(self, key: str) -> str:
        """Return the name of the lock on computing a cache entry; no other lock is named so."""
        return f"{self.ns}{{%cache:{encode_name(key, 'cache key')}}}"

    def lock(self, resource: str) -> str:
        """Return the tagged name that python-redis-lock makes its two keys of."""
        return f"{self.ns}{{{encode_name(resource, 'lock name')}}}"

    def rate_limit(self, key: str) -> str:
        return f"{self.ns}rate_limit:{{{encode_name(key, 'rate limit key')}}}"

    def rate_limit_of(self, per: str, name: str, what: str, window_ms: int) -> str:
        """Return the key of one limit; all of them share a slot. ``name`` is empty for all."""
        who = f"{per}:{encode_name(name, per)}" if name else per
        return f"{self.ns}rate_limit:{{limits}}:{who}:{what}:{window_ms}"

    def usage(self, per: str, name: str = "") -> str:
        """Return the key of totals; all of them share a slot. ``name`` is empty for all."""
        who = f"{per}:{encode_name(name, per)}" if name else per
        return f"{self.ns}usage:{{totals}}:{who}"

    def channel(self, name: str) -> str:
        """Return the pub/sub channel of a name of the caller's own: any text, kept as it is."""
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"a channel is a text that is not empty, not {str(name)[:60]!r}")
        return self.ns + name

    def session_updates(self) -> str:
        return self.channel("session_updates")
