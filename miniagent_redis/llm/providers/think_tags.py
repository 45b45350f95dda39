"""Deliberation that a local server leaves in the answer, between tags: `<think>…</think>Hello!`.

So do servers without a reasoning parser, for models such as DeepSeek-R1 and Qwen3. Only tags at the
very beginning of a reply count, of one deliberation or several in a row: behind it they may be what
the answer is about.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from ..base import ReasoningDelta, TextDelta

_PAIRS = {f"<{word}>": f"</{word}>" for word in ("think", "thinking", "thought", "reasoning")} | {
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<seed:think>": "</seed:think>",
    "<|channel>thought": "<channel|>",
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",
}  # Magistral's, Kimi's, Seed's, Gemma's, and that of gpt-oss


class ThinkTags:
    """Tells answer and deliberation apart, while they come in pieces of any length."""

    def __init__(self, *, is_open: bool = False) -> None:
        """``is_open``: the opening tag is in the server's template, and no part of the answer."""
        self._held = ""
        self._end = "</think>" if is_open else ""  # of the deliberation that has begun
        self._thoughts: list[str] = []
        self._is_text = False  # from here on all is the answer
        self._is_behind = False  # a deliberation has ended

    def split(self, text: str) -> Iterator[TextDelta | ReasoningDelta]:
        """Yield what is plain by now; the rest is held until more comes."""
        if self._is_text:
            yield TextDelta(text)
            return
        self._held += text
        while self._end or (yield from self._begin()):
            if not (yield from self._deliberate()):
                return

    def close(self, *, is_whole: bool) -> Iterator[TextDelta | ReasoningDelta]:
        """Yield what is held. A deliberation that nobody closed is the answer if that ``is_whole``.

        Else nothing was said, though the model ended as it wanted to.
        """
        held, self._held = self._held, ""
        if self._end:
            if held:
                self._thoughts.append(held)
                yield ReasoningDelta(held)
            if is_whole:
                yield TextDelta("".join(self._thoughts).strip())
        elif held := held.lstrip() if self._is_behind else held:
            yield TextDelta(held)

    def _begin(self) -> Generator[TextDelta, None, bool]:
        """Return whether there is an opening tag; yield what is held if it is the answer."""
        start = self._held.lstrip()
        for tag, end in _PAIRS.items():
            if start.startswith(tag):
                self._end, self._held = end, start[len(tag) :].lstrip()
                return True
        if not any(tag.startswith(start) for tag in _PAIRS):  # also of nothing but space
            self._is_text = True
            held, self._held = self._held, ""
            yield TextDelta(start if self._is_behind else held)
        return False

    def _deliberate(self) -> Generator[ReasoningDelta, None, bool]:
        """Yield what is held of a deliberation. Return whether it has ended."""
        thought, found, rest = self._held.partition(self._end)
        if not found:
            kept = next(
                (n for n in range(len(self._end) - 1, 0, -1) if thought.endswith(self._end[:n])), 0
            )
            cut = len(thought) - kept
            thought, rest = thought[:cut], thought[cut:]
        self._held = rest
        if thought:
            self._thoughts.append(thought)
            yield ReasoningDelta(thought)
        if found:
            self._end, self._is_behind = "", True
        return bool(found)
