"""What tells a record from others that may stand in its place: its last bytes."""

from __future__ import annotations

import re

_CHECKSUM = re.compile(rb'[0-9a-f]{8}"}')
_ITS_SIZE = len('00000000"}')
_MOST = 256  # bytes: as many as lua/_mark.lua gives; without a checksum ids and times are in them


def mark_of(record: bytes) -> bytes:
    """Return the mark of a record: its checksum, or more if it seems to have none."""
    end = record[-_ITS_SIZE:]
    return end if _CHECKSUM.fullmatch(end) else record[-_MOST:]


def is_mark_of(mark: bytes, end: bytes) -> bool:
    """Tell whether a mark is that of the record which ends so; both are empty for no record."""
    return end.endswith(mark) if mark else not end
