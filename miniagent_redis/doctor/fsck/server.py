"""Goes through keys and members page by page, with commands that hold nobody up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...store.core import StoreCore

_PAGE = 1000


def scan(core: StoreCore, pattern: str) -> Iterator[list[bytes]]:
    """Yield the names of the keys that match, in pages, of each server. A name may come twice."""
    for node in core.connections.everywhere:
        cursor: Any = 0
        while True:
            cursor, names = core.call_at(node, "SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
            yield names
            if int(cursor) == 0:
                break


def scan_members(core: StoreCore, key: str) -> Iterator[list[tuple[bytes, float]]]:
    """Yield the members of a sorted set with their scores, in pages. One may come twice."""
    cursor: Any = 0
    while True:
        cursor, flat = core.call("ZSCAN", key, cursor, "COUNT", _PAGE)
        if flat and isinstance(flat[0], (list, tuple)):  # fakeredis
            yield [(member, float(score)) for member, score in flat]
        else:
            yield [(m, float(s)) for m, s in zip(flat[::2], flat[1::2], strict=True)]
        if int(cursor) == 0:
            return
