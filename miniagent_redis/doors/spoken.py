"""What a model says in one reply, so that nothing of it is shown twice.

A turn whose process died is done again from its last stored step: what was shown already comes
again, and mostly says the same.
"""

from __future__ import annotations

from attrs import define


@define
class Spoken:
    """The text of a reply as far as it was shown."""

    shown: str = ""
    _again: str | None = None
    """What is said anew of it, behind a resumption."""

    def resume(self) -> None:
        """Note that the reply begins anew."""
        self._again = "" if self.shown else None

    def hear(self, piece: str) -> tuple[str, bool]:
        """Return what of the next piece is new, and whether it is another text than was shown."""
        if self._again is not None:
            self._again += piece
            if self.shown.startswith(self._again):
                return "", False
            said, self._again = self._again, None
            if not said.startswith(self.shown):
                self.shown = said
                return said, True
            piece = said[len(self.shown) :]
        self.shown += piece
        return piece, False

    def end(self, text: str) -> tuple[str, bool]:
        """Return the same for the whole text, once it is known."""
        shown, self._again = self.shown, None
        self.shown = text
        if text.startswith(shown):
            return text[len(shown) :], False
        if shown.startswith(text) or text.endswith(shown):  # its beginning is not kept any more
            return "", False
        return text, True
