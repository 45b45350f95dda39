"""Looking for messages of a thread from its end on, in pages, without the rest of it in memory."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve

from ..models import Message, ThreadSlice

PAGE = 1000
"""Most records in one reply: a larger LRANGE holds up everybody else on the server."""

FIRST = 100
"""As many come at first to who needs only the newest: more than most need."""


def look_back(
    load: Callable[[int, int | None], ThreadSlice], is_wanted: Callable[[Message], bool]
) -> tuple[list[Message], ThreadSlice]:
    """Look for messages that stand together, up to where they begin.

    ``load`` returns so many messages, at most, in front of a position, or of the end. Returns what
    was found, and the last page, with the version as of which there is no more.
    """
    while True:
        before, most, found = None, FIRST, list[Message]()
        first: ThreadSlice | None = None
        while True:
            page = load(most, before)
            first = first or page
            if page.epoch != first.epoch or page.count < first.count:
                break  # messages were removed in between: it begins anew
            wanted = list(filter(is_wanted, page.messages))
            found = [*wanted, *found]
            begins = found and (not wanted or not is_wanted(page.messages[0]))
            if begins or page.start <= page.head:
                return found, evolve(page, version=first.version)
            before, most = page.start, PAGE
