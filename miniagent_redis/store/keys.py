"""Every Redis key, in one place. No other module makes one; fsck knows how they begin.

``{id}`` is a Redis Cluster hash tag: all keys of a session share a slot, so that one script may
touch them all. A session id is any text; one that is no plain name stands there percent-encoded, or
as a digest if it is long, and then the metadata has it in full. ``ns`` is the optional namespace
with a colon behind it.

| key                        | type    | written by                      | expires                 |
|----------------------------|---------|---------------------------------|-------------------------|
| ns session:{id}            | string  | create, update                  | at the deadline, if any |
| ns thread:{id}             | list    | commit, append, clear           | deadline + grace        |
| ns turn:{id}               | list    | begin, stage, commit, abort     | deadline + grace        |
| ns metadata:{id}           | hash    | every session script            | deadline + grace        |
| ns ops:{id}                | hash    | every write; end                | deadline + grace        |
| ns events:{id}             | stream  | every session script            | deadline + grace        |
| ns queue:{id}              | string  | begin, by who has to wait       | a minute after it       |
| ns mark:{id}               | string  | writes, where `replicated`      | at once                 |
| ns user:{user}:sessions    | zset    | create, activity marks, end     | never; see below        |
| ns sessions:{shard}        | zset    | create, activity marks, end     | never; see below        |
| ns deadlines:{shard}       | zset    | create, marks, end, sweep       | never; see below        |
| ns turns:{shard}           | zset    | submit, start, recovery         | never; see below        |
| ns waiting:{shard}         | zset    | park, answer                    | never; see below        |
| ns user:{user}:waiting     | zset    | park, answer                    | never; see below        |
| ns hooks:{expiry}          | string  | sweep of an agent with hooks    | grace                   |
| ns cache:<key>             | string  | cache_set                       | its own TTL             |
| ns lock:{name}             | string  | python-redis-lock               | its own TTL             |
| ns lock-signal:{name}      | list    | python-redis-lock               | a second after release  |
| ns rate_limit:{key}:<ms>   | hash    | rate_limit                      | two windows             |
| ns rate_limit:{limits}:…   | hash    | AgentConfig(rate_limits=…),     | two windows             |
|                            |         | max_new_sessions_per_minute     |                         |
| ns budget:{limits}:…       | hash    | AgentConfig(budgets=…)          | 400 days after last use |
| ns usage:{totals}:…        | hash    | usage flush                     | 400 days after last use |
| ns usage:{totals}:batch:…  | string  | usage flush                     | a day after last use    |

When a session has expired, the sweep takes it out of ``user:…:sessions``, ``sessions``,
``deadlines`` and ``turns``, and prunes entries of ``sessions`` and ``deadlines`` that have no
session behind them; listings prune the index that they read. A score in ``deadlines`` is a deadline
in ms, or, when it ends in .5, when a sweep's claim on it ends. One in ``turns`` is when to look
whether a turn that asked for it was abandoned, or when the claim on it ends; +inf for one that
waits for somebody's answer. Who looks prunes what is over. One in ``waiting`` is when a turn was
parked; who answers, lists, or parks another one prunes them.

Beside them the pub/sub channels ``ns events:{id}`` (wakes whoever waits for the session),
``ns cache:<key>`` (for the value) and ``ns session_updates`` (a JSON note per session that was
created, changed, ended or has expired), ``ns db1:session_updates`` in database 1, and so on.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

from ..errors import InvalidInput
from ..models import new_id

SHARDS = 16
GRACE_MS = 3_600_000
"""How long a session's thread outlives its deadline, so that expiry hooks can read it: 1 hour."""

MINUTE_MS = 60_000

NEVER_MS = 2**52
"""A deadline, or a time to live, from here on is none: 140,000 years. The scripts know it too."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_NAME = 200
_DIGEST = "%sha256:"


def check_session_id(session_id: object) -> str:
    """Return the id; raise InvalidInput unless it is a text that is not empty."""
    if isinstance(session_id, str) and session_id:
        return session_id
    shown = repr(session_id)
    raise InvalidInput(
        f"{shown if len(shown) <= 60 else shown[:60] + '…'} is not a session id",
        cause="an id is any text that is not empty",
        hint="leave the id out to get a generated one",
    )


def check_id(given: object, what: str) -> str:
    """Return the id of a turn or an operation; ``what`` names it in the error.

    Raises InvalidInput unless it is ``[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}``.
    """
    if isinstance(given, str) and _PLAIN.fullmatch(given):
        return given
    shown = repr(given)
    raise InvalidInput(
        f"{shown if len(shown) <= 60 else shown[:60] + '…'} is not {what}",
        cause="an id is 1 to 128 of A-Z a-z 0-9 . _ : @ - and starts with a letter or digit",
        hint="leave the id out to get a generated one",
    )


def id_or_new(given: object, what: str) -> str:
    """Return the id that was given, checked, or without one a new id; ``what`` as above."""
    return new_id() if given is None else check_id(given, what)


def check_user_id(user_id: object) -> bytes:
    """Return the user id as the bytes stored for comparison; any text but an empty one is one."""
    if isinstance(user_id, str) and user_id:
        return to_bytes(user_id)
    # Never a hint to leave it out: that is every user's session, not nobody's.
    if user_id == "":
        raise InvalidInput("user_id must be text, and not empty", hint="give the id of who it is")
    kind = type(user_id).__name__
    shown = f" {user_id}" if type(user_id) in (int, float, UUID) else ""
    hint = "use str(…)" if shown else "give the id of who it is, as text"
    raise InvalidInput(f"user_id must be text, not {kind}{shown:.60}", hint=hint)


def to_bytes(text: str) -> bytes:
    """Return the name of a user or an agent as it is stored: UTF-8, lone surrogates too."""
    return text.encode("utf-8", "surrogatepass")


def to_text(raw: bytes) -> str:
    """Return a stored name as text."""
    return raw.decode("utf-8", "surrogatepass")


def read_member(raw: bytes) -> str:
    """Return the session id that a member of an index is; for any bytes some text."""
    try:
        return to_text(raw)
    except UnicodeDecodeError:  # another program's
        return raw.decode("utf-8", "backslashreplace")


def encode_id(session_id: str) -> str:
    """Return a session id as part of a key: a plain one as it is, any other as ``encode_name``."""
    return session_id if _PLAIN.fullmatch(session_id) else encode_name(session_id, "a session id")


def full_id(session_id: str) -> bytes:
    """Return a session id that its keys do not tell, as they hold a digest; b"" for any other."""
    return to_bytes(session_id) if encode_id(session_id).startswith(_DIGEST) else b""


def decode_id(encoded: str) -> str | None:
    """Return the session id of which ``encode_id`` makes this; None for a digest or any other."""
    try:
        session_id = to_text(unquote_to_bytes(encoded))
    except UnicodeDecodeError:
        return None
    return session_id if session_id and encode_id(session_id) == encoded else None


def encode_name(name: object, what: str) -> str:
    """Return any text as part of a key: percent-encoded, or a SHA-256 digest when it is long."""
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"{what} must be a text that is not empty, not {str(name)[:60]!r}")
    raw = to_bytes(name)
    encoded = quote(raw, safe="@:") if len(raw) <= _LONGEST_NAME else ""
    if encoded and len(encoded) <= _LONGEST_NAME:
        return encoded
    # "%s" never starts a percent-encoded byte, so a digest cannot be mistaken for a name.
    return _DIGEST + sha256(raw).hexdigest()


def check_namespace(namespace: object) -> str:
    """Return the namespace, an empty one too; raise InvalidInput for what is none."""
    if isinstance(namespace, str) and (not namespace or _NAMESPACE.fullmatch(namespace)):
        return namespace
    raise InvalidInput(
        f"{str(namespace)[:60]!r} is not a namespace",
        cause="a namespace is 1 to 64 of A-Z a-z 0-9 . _ -",
    )


@lru_cache(1024)
def _of_session(ns: str, session_id: str) -> tuple[str, ...]:
    tag = "{" + encode_id(session_id) + "}"
    nouns = "session", "thread", "turn", "metadata", "ops", "events", "queue"
    return tuple(f"{ns}{noun}:{tag}" for noun in nouns)


class Keys:
    """Builds the keys of one namespace, and the channels of one database of the server."""

    def __init__(self, namespace: str = "", db: int = 0) -> None:
        self.ns: str = f"{namespace}:" if check_namespace(namespace) else ""
        # Redis has the same channels in all its databases.
        self.before_channel: str = f"{self.ns}db{db}:" if db else self.ns

    def of_session(self, session_id: str) -> list[str]:
        """Return the keys of a session, in the order in which every session script takes them.

        session, thread, turn, metadata, ops, events, queue.
        """
        return list(_of_session(self.ns, session_id))

    def mark(self, session_id: str) -> str:
        """Return the key that is written for replicas to confirm, beside those of a session."""
        return f"{self.ns}mark:{{{encode_id(session_id)}}}"

    def session(self, session_id: str) -> str:
        return f"{self.ns}session:{{{encode_id(session_id)}}}"

    def metadata(self, session_id: str) -> str:
        return self.metadata_of(encode_id(session_id))

    def metadata_of(self, tag: str) -> str:
        """Return the key of a session's metadata by what its other keys have in their braces."""
        return f"{self.ns}metadata:{{{tag}}}"

    def events(self, session_id: str) -> str:
        """Return the event stream, and the channel, of a session."""
        return f"{self.ns}events:{{{encode_id(session_id)}}}"

    def user_sessions(self, user_id: str) -> str:
        return f"{self.ns}user:{{{encode_name(user_id, 'user_id')}}}:sessions"

    def shard(self, session_id: str) -> int:
        return zlib.crc32(to_bytes(session_id)) % SHARDS

    def sessions(self, shard: int) -> str:
        return f"{self.ns}sessions:{{{shard}}}"

    def deadlines(self, shard: int) -> str:
        return f"{self.ns}deadlines:{{{shard}}}"

    def turns(self, shard: int) -> str:
        return f"{self.ns}turns:{{{shard}}}"

    def waiting(self, shard: int) -> str:
        return f"{self.ns}waiting:{{{shard}}}"

    def user_waiting(self, user_id: str) -> str:
        return f"{self.ns}user:{{{encode_name(user_id, 'user_id')}}}:waiting"

    def expiry_hooks(self) -> str:
        """Return the key that is there while an agent with expiry hooks is."""
        return f"{self.ns}hooks:{{expiry}}"

    def cache(self, key: str) -> str:
        return f"{self.ns}cache:{encode_name(key, 'cache key')}"

    def cache_lock(self, key: str) -> str:
        """Return the name of the lock on computing a cache entry; no other lock is named so."""
        return f"{{%cache:{encode_name(key, 'cache key')}}}"

    def lock(self, resource: str) -> str:
        """Return the tagged name that the two keys of a lock are made of."""
        return f"{{{encode_name(resource, 'lock name')}}}"

    def of_lock(self, name: str) -> tuple[str, str]:
        """Return the keys of a lock, and of the signal at its release, by its tagged name."""
        return f"{self.ns}lock:{name}", f"{self.ns}lock-signal:{name}"

    def rate_limit(self, key: str, window_ms: int) -> str:
        return f"{self.ns}rate_limit:{{{encode_name(key, 'rate limit key')}}}:{window_ms}"

    def rate_limit_of(self, per: str, name: str, what: str, window_ms: int) -> str:
        """Return the key of one limit; all of them share a slot. ``name`` is empty for all."""
        who = f"{per}:{encode_name(name, per)}" if name else per
        return f"{self.ns}rate_limit:{{limits}}:{who}:{what}:{window_ms}"

    def budget(self, per: str, name: str, what: str, every: str) -> str:
        """Return the key of one budget; all of them share a slot. ``name`` is empty for all."""
        who = f"{per}:{encode_name(name, per)}" if name else per
        return f"{self.ns}budget:{{limits}}:{who}:{what}:{every or 'all'}"

    def creations(self, user_id: str) -> str:
        """Return the key that counts the sessions which a user begins in a minute."""
        return self.rate_limit_of("user", user_id, "sessions", MINUTE_MS)

    def usage(self, per: str, name: str = "") -> str:
        """Return the key of totals; all of them share a slot. ``name`` is empty for all."""
        who = f"{per}:{encode_name(name, per)}" if name else per
        return f"{self.ns}usage:{{totals}}:{who}"

    def channel(self, name: str) -> str:
        """Return the pub/sub channel of a name of the caller's own: any text, kept as it is.

        Its database's number is in front of it, other than 0.
        """
        if not isinstance(name, str) or not name:
            raise InvalidInput(f"a channel is a text that is not empty, not {str(name)[:60]!r}")
        return self.before_channel + name

    def session_updates(self) -> str:
        return self.channel("session_updates")
