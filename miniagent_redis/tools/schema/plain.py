"""Values of the caller's types as plain data: what JSON has, as far as there is a way to say it."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from cattrs import Converter

converter: Converter = Converter()
"""Makes dicts of classes with fields and of pydantic models, text of dates and numbers like
Decimal; leaves the rest."""


def _isoformat(value: date | time) -> str:
    return value.isoformat()


def _dumped(value: Any) -> Any:
    return value.model_dump(mode="json")


def _is_validated(kind: Any) -> bool:
    return isinstance(kind, type) and callable(getattr(kind, "model_dump", None))


converter.register_unstructure_hook_func(_is_validated, _dumped)  # pydantic's, not to be imported
for _kind in (date, time):  # a datetime is a date
    converter.register_unstructure_hook(_kind, _isoformat)
for _text in (UUID, Decimal):
    converter.register_unstructure_hook(_text, str)
