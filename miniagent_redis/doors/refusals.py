"""Errors of the doors themselves: who may not come in, and what is too much at once."""

from __future__ import annotations

from ..errors import InvalidInput, MiniAgentError


class NotSetUp(MiniAgentError):
    """The program uses a door that it has not set up for that: its author has to mend it."""


class NotLoggedIn(MiniAgentError):
    """Nobody is logged in, and what was asked for belongs to somebody."""

    def __init__(self) -> None:
        super().__init__("nobody is logged in", cause="the user_loader returned None")


class ForeignOrigin(MiniAgentError):
    """A page of another site sent a request that changes something, with its visitor's cookies."""

    def __init__(self, origin: str, host: str) -> None:
        problem = f"a request to {host} that changes something came from {origin or 'another site'}"
        hint = "a page of your own at another address belongs into MINIAGENT_TRUSTED_ORIGINS; "
        hint += "behind a proxy, have it pass Host on, or use werkzeug's ProxyFix"
        super().__init__(problem, hint=hint)


class ReadOnly(MiniAgentError):
    """Nothing may be changed by this door."""

    def __init__(self) -> None:
        super().__init__("a request that changes something came to what only shows")


class MessageTooLarge(InvalidInput):
    """The message has more bytes than ``max_message_size``."""

    def __init__(self, size: int, limit: int) -> None:
        hint = "send less, or raise MINIAGENT_MAX_MESSAGE_SIZE"
        super().__init__(f"the message has {size:,} bytes: {limit:,} is the limit", hint=hint)


class TurnNotFound(MiniAgentError):
    """The session has no such turn, or none of which anything is kept."""

    def __init__(self, session_id: str, turn_id: str) -> None:
        problem = f"session {session_id!r} has no turn {turn_id!r}"
        cause = "it has not begun, nothing of it was stored, or that is gone"
        super().__init__(problem, cause=cause, hint="start() begins a turn and returns its id")


class TooManyStreams(MiniAgentError):
    """This process has as many open streams as it may; ``retry_after`` is in seconds."""

    def __init__(self, limit: int, retry_after: float) -> None:
        problem = f"{limit} streams are open in this process, which is the limit"
        hint = "raise MINIAGENT_MAX_STREAMS if the server has threads for more, or start workers"
        super().__init__(problem, hint=hint)
        self.retry_after = retry_after
