"""JSON that comes back exactly: what it can hold, and its bytes, written and read fast or slowly.

With orjson if it is installed, and with the standard library wherever orjson would refuse or alter
something: both read what the other wrote.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, cast

from ..errors import InvalidInput

try:
    import orjson
except ImportError:  # the [fast] extra is not installed: the same JSON, slower
    orjson = None  # type: ignore[assignment]

Json = dict[str, Any]

_PLAIN = frozenset({str, bool, type(None)})
_MAX_DEPTH = 200
_MAX_BITS = 13_288  # 4,000 digits: Python by default refuses to read numbers of more than 4,300
# What may stand before a number in JSON becomes one byte, and each digit another.
_OUTLINE = bytes.maketrans(b",[- \t\r\n123456789", b":::::::000000000")
_19_DIGITS = b"0" * 19
_LONG_NUMBER = b":" + _19_DIGITS


def check_json(value: object, where: str = "value") -> None:
    """Raise InvalidInput unless ``value`` comes back from JSON as it is (tuples as lists).

    ``where`` is what the message calls it.
    """
    if not _surely_fits(value, 0):
        _find_fault(value, where, 0)


def check_members(data: Json) -> None:
    """Raise InvalidInput unless each member of the object comes back from JSON as it is."""
    for name, value in data.items():
        if type(name) is not str:
            _find_fault({name: None}, "the data", 0)
        if type(value) not in _PLAIN and not _surely_fits(value, 0):
            _find_fault(value, f"the {name}", 0)


def _surely_fits(value: Any, depth: int) -> bool:
    """Whether it is JSON at the first glance; what is not is worth a closer look."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is int:
        return bool(value.bit_length() <= _MAX_BITS)
    if depth >= _MAX_DEPTH:
        return False
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                return False
            if type(item) not in _PLAIN and not _surely_fits(item, depth + 1):
                return False
        return True
    if kind is list or kind is tuple:
        for item in value:
            if type(item) not in _PLAIN and not _surely_fits(item, depth + 1):
                return False
        return True
    return False


def _find_fault(value: object, where: str, depth: int) -> None:
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
            _find_fault(item, f"{where}[{key[:50]!r}]", depth + 1)
        return
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(cast(Sequence[object], value)):
            _find_fault(item, f"{where}[{index}]", depth + 1)
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
    """Decode JSON; raises ValueError, or RecursionError for what is nested too deep."""
    if orjson is not None and not _has_long_number(raw):
        try:
            return orjson.loads(raw)
        except ValueError:
            pass  # it refuses escaped lone surrogates, which are ours
    return json.loads(raw)


def loads_each(texts: Sequence[bytes]) -> list[Any]:
    """Decode JSON texts at one go, which is several times faster; raises as ``loads`` does."""
    array = b"[%b]" % b",".join(texts)
    # One long number would slow down all the others with it.
    if orjson is None or not _has_long_number(array):
        try:
            found: list[Any] = json.loads(array) if orjson is None else orjson.loads(array)
            if len(found) == len(texts):  # else one is no JSON, but part of a list
                return found
        except ValueError:
            pass
    return [loads(text) for text in texts]


def _has_long_number(raw: bytes) -> bool:
    """Whether a number may have 19 digits or more: orjson makes floats of integers over 64 bits.

    Random ids may have as many in a row, but behind a letter or a quotation mark. Looking for them
    costs a third of the time that orjson takes; a regular expression would triple it.
    """
    outline = raw.translate(_OUTLINE)
    return _LONG_NUMBER in outline or outline.startswith(_19_DIGITS)


def merged(target: object, patch: Any) -> Any:
    """Return what a JSON Merge Patch makes of a value: https://www.rfc-editor.org/rfc/rfc7396."""
    if not isinstance(patch, dict):
        return patch
    result: Json = dict(target) if isinstance(target, dict) else {}
    for name, value in cast(Json, patch).items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
