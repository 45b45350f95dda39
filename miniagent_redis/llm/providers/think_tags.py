"""Deliberation that a local server leaves in the answer, between tags: `<think>…</think>Hello!`.

So do servers without a reasoning parser, for models such as DeepSeek-R1 and Qwen3. Only tags at the
very beginning of a reply count: behind it they may be what the answer is about.
"""

from __future__ import annotations

from collections.abc import Iterator

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
        self._is_behind = False  # what comes is right behind the end

    def split(self, text: str) -> Iterator[TextDelta | ReasoningDelta]:
        """Yield what is plain by now; the rest is held until more comes."""
        if self._is_text and not self._is_behind:
            yield TextDelta(text)
            return
        self._held += text
        if not self._is_text and not self._end:
            yield from self._begin()
        if self._end:
            yield from self._deliberate()
        if self._is_behind and (answer := self._held.lstrip()):
            self._is_behind, self._held = False, ""
            yield TextDelta(answer)

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
        elif held and not self._is_behind:
            yield TextDelta(held)

    def _begin(self) -> Iterator[TextDelta | ReasoningDelta]:
        start = self._held.lstrip()
        for tag, end in _PAIRS.items():
            if start.startswith(tag):
                self._end, self._held = end, start[len(tag) :].lstrip()
                return
        if any(tag.startswith(start) for tag in _PAIRS):  # also of nothing but space
            return
        self._is_text = True
        held, self._held = self._held, ""
        yield TextDelta(held)

    def _deliberate(self) -> Iterator[ReasoningDelta]:
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
            self._end, self._is_text, self._is_behind = "", True, True
