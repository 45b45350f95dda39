"""What records may hold, for hypothesis: texts, values, objects, messages; and exact equality."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from miniagent_redis.models import Message, ToolCall

quick = settings(max_examples=35, deadline=None, database=None)
# Surrogates included: Python text can hold them, and models and users do send halves of emoji.
texts = st.text(st.characters(exclude_categories=()), max_size=8)
numbers = (
    st.integers() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False).filter(math.isfinite)
)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(texts.filter(lambda name: name not in ("v", "crc")), values, max_size=3)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=texts | st.lists(st.dictionaries(texts, values, max_size=3), max_size=2),
    tool_calls=st.lists(
        st.builds(ToolCall, id=texts, name=texts, arguments=objects), max_size=2
    ).map(tuple),
    tool_call_id=st.none() | texts,
    name=st.none() | texts,
    turn_id=st.none() | texts,
    created_at=st.floats(0, 4e9),
    metadata=objects,
)


def same(left: object, right: object) -> bool:
    """Equality that tells 1 from 1.0 and True, and 0.0 from -0.0."""
    return repr(left) == repr(right)


def without(data: Any, *names: str) -> Any:
    return {name: value for name, value in data.items() if name not in names}
