"""Records as JSON: one converter, a schema number in front, a CRC-32 behind.

A record is a JSON object whose first member is ``"v"`` (its schema number) and whose last is
``"crc"``: eight hexadecimal digits, the CRC-32 (ISO 3309, as in zlib) of all bytes before the
comma that introduces it. It stays plain JSON for every other reader.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, cast

from attrs import fields
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .errors import InvalidInput, SchemaTooNew
from .models import Message, ToolCall

try:
    import orjson
except ImportError:  # the [fast] extra is not installed: the same JSON, slower
    orjson = None  # type: ignore[assignment]

SCHEMA = 1
_TAIL = len(',"crc":"00000000"}')
_PLAIN = frozenset({str, bool, type(None)})
_MAX_DEPTH = 200
_MAX_BITS = 13_288  # 4,000 digits: Python by default refuses to read numbers of more than 4,300
_LONG_NUMBER = b"0" * 19
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
Json = dict[str, Any]


class Unreadable(ValueError):
    """The bytes are not a record of ours: torn, altered or foreign. Carries the reason."""


def check_json(value: object, where: str = "value", depth: int = 0) -> None:
    """Raise InvalidInput unless ``value`` comes back from JSON as it is (tuples as lists)."""
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise InvalidInput(f"{where} is a number of more than 4,000 digits")
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidInput(f"{where} is {value!r}", cause="JSON has no such number")
        return
    if depth >= _MAX_DEPTH:
        raise InvalidInput(f"{where[:100]}… is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        for key, item in cast(dict[object, object], value).items():
            if not isinstance(key, str):
                raise InvalidInput(
                    f"{where} has the key {key!r}",
                    cause="JSON object keys are text",
                    hint="use str(key)",
                )
            if type(item) not in _PLAIN:  # which saves the path to most of what there is
                check_json(item, f"{where}[{key[:50]!r}]", depth + 1)
        return
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(cast(Sequence[object], value)):
            check_json(item, f"{where}[{index}]", depth + 1)
        return
    raise InvalidInput(
        f"{where} is of type {type(value).__name__}",
        cause="only JSON values can be stored: text, numbers, booleans, None, lists and dicts",
        hint="convert it first (bytes: base64; dates: isoformat(); sets: sorted list)",
    )


def dumps(value: object) -> bytes:
    """Encode checked JSON data compactly as UTF-8; text that UTF-8 cannot hold is escaped."""
    if orjson is not None:
        try:
            return orjson.dumps(value)
        except TypeError:
            pass  # a lone surrogate or a big integer: the standard library takes both
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidInput("the data cannot be stored as JSON", cause=str(exc)) from exc


def loads(raw: bytes) -> Any:
    """Decode JSON; raises ValueError."""
    # orjson makes a float of an integer beyond 64 bits, so long numbers are not for it. Looking
    # for their digits costs a third of its time; a regular expression would triple it.
    if orjson is not None and not _has_long_number(raw):
        try:
            return orjson.loads(raw)
        except ValueError:
            pass  # it refuses escaped lone surrogates, which are ours
    return json.loads(raw)


def _has_long_number(raw: bytes) -> bool:
    return _LONG_NUMBER in raw.translate(_DIGITS_TO_ZERO)


def encode(data: Json) -> bytes:
    """Turn checked JSON data into the bytes of a record."""
    body = dumps({"v": SCHEMA, **data} if "v" not in data else data)[:-1]
    return b'%b,"crc":"%08x"}' % (body, zlib.crc32(body))


def decode(raw: bytes) -> Json:
    """Turn the bytes of a record into its data; raises Unreadable."""
    if not _intact(raw):
        raise Unreadable("its checksum does not match: torn, altered, or not ours")
    return _object(raw)


def decode_many(records: Sequence[bytes]) -> list[Json | Unreadable]:
    """Decode records at one go, which is several times faster; bad ones become Unreadable."""
    if all(map(_intact, records)):
        array = b"[%b]" % b",".join(records)
        # One long number, or an id that looks like one, would slow down all the others with it.
        if orjson is None or not _has_long_number(array):
            try:
                return cast(list[Json | Unreadable], loads(array))
            except ValueError:
                pass
    return [_decode_or_reason(raw) for raw in records]


def _decode_or_reason(raw: bytes) -> Json | Unreadable:
    try:
        return decode(raw)
    except Unreadable as exc:
        return exc


def _intact(raw: bytes) -> bool:
    body = raw[:-_TAIL]
    return raw[-_TAIL:] == b',"crc":"%08x"}' % zlib.crc32(body)


def _object(raw: bytes) -> Json:
    try:
        data = loads(raw)
    except (ValueError, RecursionError) as exc:
        raise Unreadable(f"it is not JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise Unreadable("it is not a JSON object")
    return cast(Json, data)


# --- the converter -------------------------------------------------------------------------

converter = Converter(detailed_validation=False, omit_if_default=True)


def _keep_unknown_fields(cls: type[Any]) -> None:
    """Make ``cls.extra`` hold the members that this version does not know."""
    known = frozenset(f.name for f in fields(cls) if f.name != "extra") | {"v", "crc"}
    structure: Callable[..., Any] = make_dict_structure_fn(cls, converter)
    unstructure: Callable[..., Json] = make_dict_unstructure_fn(
        cls, converter, _cattrs_omit_if_default=True, extra=override(omit=True)
    )

    def from_json(data: Json, kind: type[Any]) -> Any:
        unknown = data.keys() - known
        if not unknown:
            return structure(data, kind)
        extra = {name: item for name, item in data.items() if name in unknown}
        return structure({**data, "extra": extra}, kind)

    def to_json(value: Any) -> Json:
        unknown = {name: item for name, item in value.extra.items() if name not in known}
        return {**unknown, **unstructure(value)}

    converter.register_structure_hook(cls, from_json)
    converter.register_unstructure_hook(cls, to_json)


# What JSON already gives in the right shape passes through untouched, both ways: cattrs would turn
# attrs objects and enums inside into something that does not come back, and follow cycles.


def _as_object(value: Any, _: object) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {type(value).__name__}")
    return value  # pyright: ignore[reportUnknownVariableType]


def _as_content(value: Any, _: object) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise TypeError(f"text or a list of parts was expected, not {type(value).__name__}")
    return [_as_object(part, None) for part in cast(list[object], value)]


def _plain(value: Any) -> Any:
    return value


def _is_object(kind: object) -> bool:
    return kind == dict[str, Any]


def _is_content(kind: object) -> bool:
    return kind == str | list[dict[str, Any]]


converter.register_structure_hook_func(_is_object, _as_object)
converter.register_unstructure_hook_func(_is_object, _plain)
converter.register_structure_hook_func(_is_content, _as_content)
converter.register_unstructure_hook_func(_is_content, _plain)
_keep_unknown_fields(ToolCall)
_keep_unknown_fields(Message)


def message_to_data(message: Message) -> Json:
    """Return the message as JSON data for ``encode``; raises InvalidInput on what JSON lacks."""
    data = cast(Json, converter.unstructure(message))
    check_json(data, "message")
    return data


def message_from_data(data: Json) -> Message:
    """Rebuild a message; raises Unreadable, or SchemaTooNew for a later version's record."""
    upcast(data, "a message")
    try:
        return converter.structure(data, Message)
    except Exception as exc:  # cattrs raises many kinds, each as good as another here
        must_fail_again(lambda: converter.structure(data, Message), exc)
        raise Unreadable(f"it is not a message: {exc!r}") from exc


def must_fail_again(decode_it: Callable[[], object], error: Exception) -> None:
    """Raise ``error`` if decoding succeeds now: then the record is not to blame.

    It was thrown in by a signal handler, as job runners do at a time limit; a record that is
    unreadable is so each time.
    """
    try:
        decode_it()
    except Exception:
        return
    raise error


def upcast(data: Json, what: str) -> Json:
    """Bring an older record's data to today's schema; refuse a newer one with SchemaTooNew."""
    found = data.get("v")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise Unreadable(f"{what} carries no schema number")
    if found > SCHEMA:
        raise SchemaTooNew(what, found, SCHEMA)
    return data
