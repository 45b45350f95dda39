"""What the connections of a store are doing and did, in figures."""

from __future__ import annotations

from attrs import frozen

from .pool import PoolFigures


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
