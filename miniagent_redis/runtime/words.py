"""Looking for words in a text, whatever the case of letters, and showing where they are."""

from __future__ import annotations

_BEFORE, _BEHIND = 40, 80  # characters of a snippet


class Words:
    """The words of a text, to be found in others: all of them, each anywhere."""

    def __init__(self, text: str) -> None:
        self._words = text.casefold().split()

    def snippet(self, text: str) -> str | None:
        """Return a piece of the text around the word that comes first; None if one is missing."""
        folded = text.casefold()
        places = [folded.find(word) for word in self._words]
        if min(places, default=-1) < 0:
            return None
        at = _unfolded(text, min(places)) if len(folded) != len(text) else min(places)
        start, end = max(0, at - _BEFORE), at + _BEHIND
        if start and (space := text.find(" ", start, at)) >= 0:
            start = space
        piece = " ".join(text[start:end].split())
        return ("…" if start else "") + piece + ("…" if end < len(text) else "")


def _unfolded(text: str, place: int) -> int:
    """Return the place in a text of one in its folded form, where a letter may become several."""
    length = 0
    for at, letter in enumerate(text):
        length += len(letter.casefold())
        if length > place:
            return at
    return len(text)
