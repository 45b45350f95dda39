"""A cluster: each node serves some of the 16,384 slots, and a key's slot is told by its name.

The nodes say who serves what. One that is asked for a slot of another says so (MOVED), and that is
noted at once; when a node is gone, any of the others is asked for the whole map again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...config.redis import RedisConfig
from ...errors import MiniAgentError, StoreMisconfigured, StoreUnavailable
from ...runtime.forking import reset_after_fork
from ..faults import Faults, reason
from ..link_kinds import TcpLink, TlsLink
from ..options import connection_options
from ..resp import packer
from .slots import SlotMap, name_node, place_of, slot_of
from .topology import Command, Endpoint, Node

_SOON = 0.05
"""Seconds in which one look at the cluster is enough for all threads that meet its trouble."""
_CALM = 1.0
"""Seconds between looks while slots are moving: each of them is told by MOVED anyway."""
_AVOIDED = 5.0
"""Seconds for which a node that did not answer is asked last."""
_NO_CLUSTER = "cluster support disabled"


class Cluster:
    """The topology of a cluster, found by way of any node of it. Safe for threads."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._faults = Faults(config)
        self._seeds: tuple[Node, ...] = tuple(name_node(*node) for node in config.address.nodes)
        self._map = SlotMap([], self._seeds[0])
        self._favourite: Node = ""
        self._silent: dict[Node, float] = {}  # when it did not answer
        self._looked = -_CALM
        self._is_there = False  # some node answered at the last look
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._looking = threading.RLock()

    def open(self) -> None:
        """Learn the map from any node that answers."""
        self._look(0.0)

    def close(self) -> None:
        """Do nothing: each look closes its own connection."""

    def node(self, command: Command) -> Node:
        slot = slot_of(command)
        # What no node serves is refused by any of them: CLUSTERDOWN.
        return self.anywhere() if slot is None else self._map.owner(slot) or self.anywhere()

    def anywhere(self) -> Node:
        return self._favourite or self._seeds[0]

    def everywhere(self) -> Sequence[Node]:
        """Return the nodes that have all the keys between them."""
        return self._map.masters or (self.anywhere(),)

    def endpoint(self, node: Node) -> Endpoint:
        return Endpoint(*place_of(node))

    def heal(self, node: Node) -> None:
        self._look(_SOON)

    def is_there_without(self, node: Node) -> bool:
        """Look at the cluster because a node is silent; return whether another one answers."""
        self._silent[node] = time.monotonic()
        try:
            self._look(_SOON)
        except MiniAgentError:
            return False
        return self._is_there

    def moved(self, slot: int, node: Node) -> None:
        """Note that a slot is with another node now; others may have moved too."""
        self._map.move(slot, node)
        if time.monotonic() - self._looked > _CALM and self._looking.acquire(blocking=False):
            try:
                self._look(_CALM)
            except MiniAgentError:
                pass  # whoever needs it will meet it
            finally:
                self._looking.release()

    def _look(self, enough: float) -> None:
        """Ask the nodes one after the other for the map, unless that was done just now."""
        with self._looking:
            if time.monotonic() - self._looked < enough:
                return
            last: StoreUnavailable | None = None
            wrong: MiniAgentError | None = None
            for node in self._in_order():
                try:
                    found = SlotMap(self._ask(node), node)
                except (redis.AuthenticationError, redis.ResponseError) as exc:
                    raise self._error(exc) from exc
                except (redis.RedisError, OSError) as exc:
                    self._silent[node] = time.monotonic()
                    last = self._faults.unavailable(f"{node}: {reason(exc)}")
                    last.__cause__ = exc
                    wrong = self._wrong(node, exc) or wrong
                    continue
                finally:
                    self._looked = time.monotonic()
                if found.masters or not self._map.masters:
                    self._map = found
                self._silent.pop(node, None)
                if self._favourite in self._silent or self._favourite not in found.masters:
                    others = [one for one in found.masters if one not in self._silent]
                    self._favourite = node if node in others or not others else others[0]
                self._is_there = True
                return
            self._is_there = False
            raise wrong or last or self._faults.unavailable("it has no nodes")

    def _in_order(self) -> list[Node]:
        """Return all known nodes, any first, but last those that did not answer lately."""
        known = list(dict.fromkeys((*self._map.nodes, *self._seeds)))
        random.shuffle(known)
        now = time.monotonic()
        return sorted(known, key=lambda node: now - self._silent.get(node, -_AVOIDED) < _AVOIDED)

    def _ask(self, node: Node) -> Any:
        limit = self._config.socket_connect_timeout
        options = connection_options(self._config) | {"protocol": 2, "socket_timeout": limit}
        kind = TlsLink if self._config.address.is_tls else TcpLink
        link = kind(
            locate=lambda: self.endpoint(node),
            retry=Retry(NoBackoff(), 0),
            command_packer=packer,
            **options,
        )
        try:
            link.connect()
            link.send_command("CLUSTER", "SLOTS")
            return link.read_response()
        finally:
            link.disconnect()

    def _wrong(self, node: Node, exc: Exception) -> MiniAgentError | None:
        """Return the error for a node that can never be spoken to like that; else None."""
        told = self._faults.before_sending(exc)
        if not isinstance(told, StoreMisconfigured):
            return None
        error = StoreMisconfigured(told.problem, cause=f"{node}: {told.cause}", hint=told.hint)
        error.__cause__ = exc
        return error

    def _error(self, exc: Exception) -> MiniAgentError:
        if _NO_CLUSTER in str(exc):
            return StoreMisconfigured(
                f"Redis at {self._config.address} is no node of a cluster",
                cause=reason(exc),
                hint="write redis:// for a server of its own",
            )
        told = self._faults.refusal(exc)
        error = getattr(told, "error", told)
        return error if isinstance(error, MiniAgentError) else self._faults.unavailable(reason(exc))
