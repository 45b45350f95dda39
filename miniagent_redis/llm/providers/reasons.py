"""Why an answer ended, in the words of all vendors and their imitators, and in ours."""

from __future__ import annotations

from ..base import Finish

_MEANINGS = {
    "stop": (
        "stop", "end_turn", "stop_sequence", "eos", "eos_token", "end", "complete", "completed",
        "done", "finished",
    ),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call"),
    "length": (
        "length", "max_tokens", "max_output_tokens", "max_length", "model_length",
        "model_context_window_exceeded",
    ),
    "content_filter": (
        "content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content",
        "spii", "model_armor", "jailbreak", "image_safety", "image_prohibited_content",
        "image_recitation",
    ),
    "malformed_call": (
        "malformed_function_call", "unexpected_tool_call", "malformed_response",
    ),
}  # fmt: skip
_MEANING = {word: ours for ours, words in _MEANINGS.items() for word in words}
_TOLD = ("content_filter", "malformed_call")  # where the vendor's own word says more


def finish_of(word: str, said: str = "") -> Finish:
    """Return the Finish for a vendor's word, and what else it ``said``; unknown words stay."""
    known = word.lower()
    if "malformed_function_call" in known:  # Google's chat completions put something in front
        known = "malformed_function_call"
    reason = _MEANING.get(known, word)
    own = word if reason in _TOLD and word != reason else ""
    return Finish(reason, ": ".join(filter(None, (own, said))))
