"""Whether a server is new enough for our scripts: asked with the first connection to it, not later.

What it calls itself is told; what it understands decides, as some call themselves older than they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import redis
from attrs import frozen

from ..config.redis import RedisConfig
from ..errors import StoreMisconfigured
from .kept import read_info
from .link import Link
from .refusals import NEEDED, TOO_OLD, find_refusal, is_of_command
from .topology import Endpoint

_OLDEST = (7, 0)
_INFO = ("INFO", "server")
PROBE_SCRIPT = ("EVAL", "#!lua\nreturn 1", 0)
"""Writes nothing, and is refused by what takes no writes, or knows no scripts as ours are."""


@frozen
class Version:
    """What a server calls itself; ``numbers`` are () if it does not tell."""

    name: str
    numbers: tuple[int, ...] = ()

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Version:
        """Read what INFO says."""
        compatible = str(info.get("redis_version", ""))
        name = f"Redis {compatible}"
        if info.get("server_name") == "valkey" or "valkey_version" in info:
            name = f"Valkey {info.get('valkey_version')} (speaks Redis {compatible})"
        parts = compatible.split(".")[:2]
        is_told = len(parts) == 2 and all(part.isdigit() for part in parts)
        return cls(name, tuple(map(int, parts)) if is_told else ())

    @property
    def is_too_old(self) -> bool:
        """Whether it is said to be; what is not told is not."""
        return bool(self.numbers) and self.numbers < _OLDEST


class Versions:
    """The servers of one store that were asked. ``on_refused`` is called by one without INFO."""

    def __init__(self, config: RedisConfig, on_refused: Callable[[], None]) -> None:
        self._config = config
        self._on_refused = on_refused
        self._asked: set[Endpoint] = set()

    def greet(self, link: Link) -> None:
        """Ask the server of a new connection, once. One that tells nothing is taken to be fine.

        Raises StoreMisconfigured if it is too old, and redis-py's errors of connecting.
        """
        place = link.endpoint
        if place in self._asked:
            return
        version = self._ask(link)
        if version.is_too_old and not _understands(link):
            at = f" at {place.host}:{place.port}" if place.host else ""
            raise StoreMisconfigured(
                f"Redis at {self._config.address} is too old",
                cause=f"the server{at} is {version.name}, which does not know scripts as we need "
                "them",
                hint=f"upgrade it: {NEEDED}",
            )
        self._asked.add(place)

    def _ask(self, link: Link) -> Version:
        try:
            link.send_command(*_INFO, check_health=False)
            return Version.of(read_info(link.read_response()))
        except redis.ResponseError as exc:
            if not is_of_command(exc):
                raise  # it lets nobody in, or not yet
            self._on_refused()
        except (redis.AuthenticationError, redis.BusyLoadingError, redis.TimeoutError):
            raise
        except (redis.ConnectionError, OSError):  # as proxies answer what they do not serve
            link.disconnect()
            link.connect()
        return Version("unknown")


def _understands(link: Link) -> bool:
    try:
        link.send_command(*PROBE_SCRIPT, check_health=False)
        link.read_response()
    except redis.ResponseError as exc:
        return find_refusal(exc) is not TOO_OLD  # all else is told better by what is refused
    return True
