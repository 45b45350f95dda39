"""Sentinels, and what they answer: in turn, those first that answered last time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import redis
from attrs import frozen
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from ...config.redis import RedisConfig
from ...errors import StoreMisconfigured, StoreUnavailable
from ..faults import reason
from ..link import LOST, Link, NotSent
from ..link_kinds import TcpLink, TlsLink
from ..options import tls_options
from ..resp import packer
from ..tls_faults import tls_misconfigured
from ..tls_probe import TLS_WANTED
from .topology import Command, Endpoint, NotThere

Place = tuple[str, int]
_PATIENCE = 0.5
"""Seconds at most for a Sentinel to accept a connection, and to answer."""
_LEFT_ALONE = 10.0
"""Seconds for which a silent one is asked only if no other answers."""


@frozen
class Named:
    """What a ``sentinel`` says: who is the master, and since which failover (``epoch``).

    ``is_leaving``: another one is about to take its place, and which one is not known yet.
    """

    sentinel: str
    host: str
    port: int
    epoch: int
    is_leaving: bool


@frozen
class NoAnswer:
    """What a ``sentinel`` gave in place of an answer: ``cause``, and the error if that is final."""

    sentinel: str
    cause: str
    error: StoreMisconfigured | None = None


class Sentinels:
    """The Sentinels of an address. Safe for threads; it keeps no connection."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._address = address = config.address
        self._tls = tls_options(config) if address.is_tls else {}
        self._order: tuple[Place, ...] = address.nodes
        self._silent_until: dict[Place, float] = {}
        self._timeout = min(_PATIENCE, config.socket_connect_timeout, config.socket_timeout)

    @property
    def majority(self) -> int:
        """More than half of those that the address names."""
        return len(self._order) // 2 + 1

    def who_is_master(self) -> list[Named]:
        """Return what those say that answer; one at the least.

        All are asked: the one that leads a failover knows of it two seconds before the others.

        Raises NotThere if none does, and StoreMisconfigured if those that do refuse for good.
        """
        found: list[Named] = []
        missing: list[NoAnswer] = []
        for place in self._in_order():
            if found and self._is_silent(place):
                break
            answer = self._name_of_master(place)
            if isinstance(answer, Named):
                found.append(answer)
            else:
                missing.append(answer)
        if not found:
            self._raise(missing)
        return found

    def each(self, *commands: Command) -> Iterator[tuple[str, list[Any] | NoAnswer]]:
        """Send commands to all of them; yield the replies of each, errors among them."""
        for place in self._address.nodes:
            yield _shown(place), self._ask(place, commands)

    def certificates(self) -> Iterator[tuple[str, bytes]]:
        """Yield those of all that answer, in DER, when TLS is spoken to them."""
        for place in self._address.nodes:
            link = self._link(place)
            try:
                link.connect()
                if isinstance(link, TlsLink) and link.certificate:
                    yield _shown(place), link.certificate
            except LOST:
                pass  # ``each`` tells
            finally:
                link.disconnect()

    def _in_order(self) -> list[Place]:
        return sorted(self._order, key=self._is_silent)

    def _is_silent(self, place: Place) -> bool:
        return self._silent_until.get(place, 0.0) > time.monotonic()

    def _name_of_master(self, place: Place) -> Named | NoAnswer:
        service = self._address.service
        # While a failover is under way the second tells who becomes the master.
        commands = [("SENTINEL", word, service) for word in ("MASTER", "GET-MASTER-ADDR-BY-NAME")]
        replies = self._ask(place, commands)
        if isinstance(replies, NoAnswer):
            return replies
        try:
            about, (host, port) = _pairs(replies[0]), (word.decode() for word in replies[1])
            is_next = (host, port) != (about["ip"], about["port"])
            is_leaving = "failover_in_progress" in about["flags"] and not is_next
            return Named(_shown(place), host, int(port), int(about["config-epoch"]), is_leaving)
        except (TypeError, ValueError, KeyError, AttributeError):
            return self._refused(place, replies)

    def _ask(self, place: Place, commands: Sequence[Command]) -> list[Any] | NoAnswer:
        link = self._link(place)
        try:
            link.connect()
            replies = link.ask(commands, lambda *_: False)
        except (redis.ResponseError, redis.AuthenticationError, redis.InvalidResponse) as exc:
            replies = [exc]
        except (*LOST, NotSent) as exc:
            self._silent_until[place] = time.monotonic() + _LEFT_ALONE
            self._order = (*(one for one in self._order if one != place), place)
            where = _shown(place)
            refused = tls_misconfigured(exc, self._config, where) if self._tls else None
            return NoAnswer(where, refused.cause if refused else reason(exc), refused)
        finally:
            link.disconnect()
        self._silent_until.pop(place, None)
        for reply in replies:
            if isinstance(reply, (redis.AuthenticationError, redis.InvalidResponse)):
                return self._refused(place, replies)
        return replies

    def _link(self, place: Place) -> Link:
        address = self._address
        kind = TlsLink if address.is_tls else TcpLink
        return kind(
            locate=lambda: Endpoint(*place),
            protocol=2,
            username=address.sentinel_username,
            password=address.sentinel_password,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=Retry(NoBackoff(), 0),
            command_packer=packer,
            **self._tls,
        )

    # --- what is told when there is no answer ------------------------------------------------

    def _refused(self, place: Place, replies: list[Any]) -> NoAnswer:
        """Understand why one does not name a master."""
        where, service = _shown(place), self._address.service
        said = next((one for one in replies if isinstance(one, Exception)), None)
        text = str(said or "")
        if isinstance(said, redis.AuthenticationError) or "DENIED" in text:
            problem, hint = f"the Sentinel at {where} does not let us in", self._way_in(text)
        elif isinstance(said, NoPermissionError):
            problem = f"the Sentinel at {where} does not let us ask for its master"
            hint = "give its user these rights: +sentinel|master +sentinel|get-master-addr-by-name"
        elif TLS_WANTED in text:
            problem = f"the Sentinel at {where} wants TLS"
            hint = "write rediss+sentinel://, which speaks it to the servers too"
        elif isinstance(said, redis.InvalidResponse) or "unknown command" in text:
            problem = f"what answers at {where} is no Sentinel"
            hint = "name ports of Sentinels, by default 26379; for a server itself write redis://"
        elif said is not None and "No such master" not in text:
            return NoAnswer(where, text)
        else:
            known = self._services(place)
            problem = f"the Sentinel at {where} knows no service {service!r}"
            hint = f"it knows: {', '.join(known)}" if known else "it watches none: see its file"
        error = StoreMisconfigured(problem, cause=text, hint=hint)
        return NoAnswer(where, text or problem, error)

    def _way_in(self, text: str) -> str:
        if "without any password configured" in text or "no password is set" in text:
            return "it has no password: leave sentinel_password out of the url"
        if self._address.sentinel_password is None:
            return "it wants a password of its own: write ?sentinel_password=… behind the url"
        return "sentinel_username or sentinel_password in the url is wrong"

    def _services(self, place: Place) -> list[str]:
        replies = self._ask(place, [("SENTINEL", "MASTERS")])
        if isinstance(replies, NoAnswer) or not isinstance(replies[0], list):
            return []
        return sorted(_pairs(one).get("name", "") for one in replies[0])

    def _raise(self, missing: list[NoAnswer]) -> None:
        causes = "; ".join(f"{one.sentinel}: {one.cause}" for one in missing)
        for one in missing:
            if one.error is not None:
                raise StoreMisconfigured(one.error.problem, cause=causes, hint=one.error.hint)
        raise NotThere(
            StoreUnavailable(
                f"no Sentinel of {self._address.service!r} answers",
                cause=causes,
                hint="start them (redis-sentinel FILE), or set REDIS_URL to where they run",
            )
        )


def _shown(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _pairs(reply: list[bytes]) -> dict[str, str]:
    """Return the names and values that alternate in a reply."""
    texts = [word.decode() for word in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))
