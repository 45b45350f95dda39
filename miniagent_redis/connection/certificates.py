"""From when until when a certificate is valid, as RFC 5280 writes it; nothing else is looked at.

The module ssl tells that only of a certificate of another side, and only if it was checked.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

_VERSION, _UTC_TIME, _GENERAL_TIME = 0xA0, 0x17, 0x18  # tags
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@frozen
class Validity:
    """Its first and its last moment, as of time.time()."""

    begins: float
    ends: float


def validity(certificate: bytes) -> Validity:
    """Read it out of a certificate in DER. Raises ValueError for what is none."""
    try:
        ((_, whole),) = _parts(certificate)
        (_, signed), *_ = _parts(whole)
        fields = [content for tag, content in _parts(signed) if tag != _VERSION]
        begins, ends = _parts(fields[3])  # behind serial number, algorithm and issuer
        return Validity(_time(*begins), _time(*ends))
    except (ValueError, IndexError) as exc:
        raise ValueError("it is no certificate") from exc


def validity_of_file(path: str) -> Validity:
    """Read it out of the first certificate of a file in PEM. Raises ValueError or OSError."""
    text = Path(path).read_text(encoding="ascii", errors="replace")
    first = text.partition(_BEGIN)[2].partition(_END)[0]
    return validity(ssl.PEM_cert_to_DER_cert(_BEGIN + first + _END))


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Return the tags and contents of what stands one behind the other (X.690, 8.1)."""
    found: list[tuple[int, bytes]] = []
    while data:
        if len(data) < 2:
            raise ValueError("it is cut off")
        start, length = 2, data[1]
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start])
        if len(data) < start + length:
            raise ValueError("it is cut off")
        found.append((data[0], data[start : start + length]))
        data = data[start + length :]
    return found


def _time(tag: int, text: bytes) -> float:
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("20" if digits < "50" else "19") + digits
    elif tag != _GENERAL_TIME:
        raise ValueError("it is no time")
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
