"""Commands as bytes: RESP, the protocol of Redis.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis._parsers import Encoder
from redis.connection import PythonRespSerializer

_PACK_AT_ONCE = 6000  # bytes, as in redis-py
_encoder = Encoder("utf-8", "strict", False)  # type: ignore[no-untyped-call]
packer: Any = PythonRespSerializer(_PACK_AT_ONCE, _encoder.encode)
"""For what redis-py itself sends. That of hiredis 3.5 ends the process with a segmentation fault
when a Ctrl-C comes while it writes a number, as each new connection does."""
_LENGTHS = [b"$%d" % length for length in range(1024)]


def pack(commands: Sequence[Sequence[Any]]) -> bytes:
    """Write commands, one behind the other: text as UTF-8, numbers as text."""
    packed: list[bytes] = []
    for command in commands:
        lines = [b"*%d" % len(command)]
        for item in command:
            if type(item) is not bytes:
                item = (item if type(item) is str else str(item)).encode()
            size = len(item)
            lines.append(_LENGTHS[size] if size < 1024 else b"$%d" % size)
            lines.append(item)
        lines.append(b"")
        packed.append(b"\r\n".join(lines))
    return b"".join(packed)
