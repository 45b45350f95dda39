"""What the connections of a store are doing and did, in figures."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from .pool import Pool, PoolFigures


@frozen
class Figures:
    """What the connections of a store are doing and did: those of its commands and of ``client``.

    ``retries`` counts repetitions of operations, ``lost_replies`` commands of unknown outcome,
    ``listening`` those who listen to channels, once for each channel.
    """

    commands: PoolFigures
    client: PoolFigures | None
    retries: int
    lost_replies: int
    listening: int

    @classmethod
    def of(
        cls, pools: Iterable[Pool], own: Pool | None, retries: int, lost: int, listening: int
    ) -> Figures:
        """Return those of the servers' pools together, and of the client's ``own``."""
        commands = PoolFigures.sum([pool.figures() for pool in pools])
        return cls(commands, None if own is None else own.figures(), retries, lost, listening)
