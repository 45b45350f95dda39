"""The frame of a record: a schema number in front, a CRC-32 behind, and plain JSON all the same.

A record is a JSON object whose first member is ``"v"`` (its schema number) and whose last is
``"crc"``: eight hexadecimal digits, the CRC-32 (ISO 3309, as in zlib) of all bytes before the
comma that introduces it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import cast

from ..errors import SchemaTooNew
from .json import Json, dumps, loads, loads_each

SCHEMA = 1
"""The number that records get now. It grows when what was written before has to be read anew."""

UPCASTERS: dict[tuple[str, int], Callable[[Json], Json]] = {}
"""How to read older records: by their kind and schema, what makes the next schema's data of it.

A kind that has nothing here for a schema has not changed in it. Kinds are those of ``Where`` in
format.py, and "spool": the line that a spooled turn begins with. Golden records of each schema are
in tests/golden.
"""

_TAIL = len(',"crc":"00000000"}')


class Unreadable(ValueError):
    """The bytes are not a record of ours: torn, altered or foreign. Carries the reason."""


def stamped(data: Json) -> Json:
    """Return the data with today's schema number in front."""
    return {"v": SCHEMA, **data}


def upcast(data: Json, kind: str, what: object) -> Json:
    """Take the schema number off the data and bring it, in place or anew, to today's schema.

    ``what`` is it, for the message of SchemaTooNew, which a newer one raises. Raises Unreadable if
    there is no number, or if the data is not what its number promises.
    """
    found = data.pop("v", None)
    if type(found) is not int or found < 1:
        raise Unreadable("it carries no schema number")
    if found == SCHEMA:
        return data
    if found > SCHEMA:
        raise SchemaTooNew(str(what), found, SCHEMA)
    for schema in range(found, SCHEMA):
        step = UPCASTERS.get((kind, schema))
        if step is not None:
            try:
                data = step(data)
            except (LookupError, TypeError, ValueError) as exc:
                raise Unreadable(f"it is not of schema {schema}: {exc!r}") from exc
    return data


def encode(data: Json) -> bytes:
    """Turn checked JSON data into the bytes of a record, of today's schema if it names none."""
    body = dumps(data if "v" in data else stamped(data))[:-1]
    return b'%b,"crc":"%08x"}' % (body, zlib.crc32(body))


def decode(raw: bytes) -> Json:
    """Turn the bytes of a record into its data, schema number included; raises Unreadable."""
    body = raw[:-_TAIL]
    if raw[-_TAIL:] != b',"crc":"%08x"}' % zlib.crc32(body):
        raise Unreadable("its checksum does not match: torn, altered, or not ours")
    try:
        data = loads(raw)
    except (ValueError, RecursionError) as exc:
        raise Unreadable(f"it is not JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise Unreadable("it is not a JSON object")
    data.pop("crc", None)
    return cast(Json, data)


def decode_many(records: Sequence[bytes]) -> list[Json | Unreadable]:
    """Decode records at one go, which is several times faster; bad ones become Unreadable."""
    crc32 = zlib.crc32
    for raw in records:
        if raw[-_TAIL:] != b',"crc":"%08x"}' % crc32(raw[:-_TAIL]):
            break
    else:
        try:
            found: list[Json | Unreadable] = loads_each(records)
        except (ValueError, RecursionError):
            pass
        else:
            for data in found:
                if type(data) is not dict:
                    break
                data.pop("crc", None)
            else:
                return found
    return [_decode_or_reason(raw) for raw in records]


def _decode_or_reason(raw: bytes) -> Json | Unreadable:
    try:
        return decode(raw)
    except Unreadable as exc:
        return exc
