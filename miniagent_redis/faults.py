"""What redis-py's exceptions mean: the one place that reads them.

Three kinds: refused before execution (worth another try), misconfigured (told at once), and reply
lost (executed or not, nobody knows).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as rx

from .errors import MiniAgentError, StoreMisconfigured, StoreUnavailable
from .redis_url import Address

# Refused before execution: the same command may succeed in a moment.
# redis-py takes the code off the message of those that it has a class for.
_PASSING = (rx.BusyLoadingError, rx.ClusterDownError, rx.MasterDownError, rx.TryAgainError)
_PASSING_CODES = ("BUSY ",)
_NO_WRITES = (rx.ReadOnlyError, rx.OutOfMemoryError)
_NO_WRITES_CODES = ("MISCONF", "NOREPLICAS")
_MISCONFIGURED = (rx.AuthenticationError, rx.NoPermissionError)


class ReplyLost(Exception):
    """The command was sent and no reply came: it may have been executed or not."""


class NoScript(Exception):
    """The server does not know the script yet."""


class Refused(Exception):
    """Certainly not executed, and worth another try; carries the error to raise in the end.

    ``is_outage`` is whether the server is to blame, and not the number of our own calls;
    ``refuses_writes`` whether it still answers what only reads.
    """

    def __init__(
        self, error: MiniAgentError, *, is_outage: bool = True, refuses_writes: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.is_outage = is_outage
        self.refuses_writes = refuses_writes


class Faults:
    """Turns redis-py's exceptions into ours, for one address and its ``most`` connections."""

    def __init__(self, address: Address, most: int) -> None:
        self._address = address
        self._most = most

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Turn redis-py's exceptions inside the block into ours."""
        try:
            yield
        except rx.ResponseError as exc:
            refusal = self.refusal(exc)
            raise getattr(refusal, "error", refusal) from exc
        except (rx.RedisError, OSError) as exc:
            refusal = self.before_sending(exc)
            raise getattr(refusal, "error", refusal) from exc

    def before_sending(self, exc: Exception) -> Exception:
        """Return what to raise for a failure to get a connection: nothing was sent."""
        text = reason(exc)
        if isinstance(exc, rx.AuthenticationError):
            return self._misconfigured(text)
        if "No connection available" in text or "Too many connections" in text:
            return Refused(
                StoreUnavailable(
                    f"all {self._most} connections to {self._address} are in use",
                    cause=text,
                    hint="raise max_connections, or look for calls that never end",
                ),
                is_outage=False,
            )
        return Refused(self.unavailable(text))

    def refusal(self, exc: rx.RedisError) -> Exception:
        """Return what to raise for an error that Redis replied."""
        text = reason(exc)
        if isinstance(exc, rx.NoScriptError):
            return NoScript()
        if isinstance(exc, _MISCONFIGURED) or text.startswith("DENIED"):
            return self._misconfigured(text)
        if text.startswith("WRONGTYPE"):
            return StoreMisconfigured(
                "one of our keys holds another type of value",
                cause="something else than this library wrote it; it was left as it is",
                hint="remove or rename that key, or set a namespace of your own",
            )
        refuses_writes = isinstance(exc, _NO_WRITES) or text.startswith(_NO_WRITES_CODES)
        if refuses_writes or isinstance(exc, _PASSING) or text.startswith(_PASSING_CODES):
            return Refused(
                StoreUnavailable(
                    f"Redis at {self._address} refuses writes or is not ready",
                    cause=text,
                    hint="see INFO and the server's log; nothing was written",
                ),
                refuses_writes=refuses_writes,
            )
        return StoreMisconfigured(
            f"Redis at {self._address} refused the command",
            cause=text,
            hint="miniagent-redis doctor tells what the server lacks",
        )

    def _misconfigured(self, cause: str) -> StoreMisconfigured:
        return StoreMisconfigured(
            f"Redis at {self._address} does not let us in",
            cause=cause,
            hint="check the user name, the password and the ACL rules",
        )

    def unavailable(self, cause: str) -> StoreUnavailable:
        """Build the error for a server that cannot be reached."""
        hint = "start it (redis-server), or set REDIS_URL to where it runs, or to embedded:// "
        hint += "for a server of your own"
        if self._address.kind == "embedded":
            hint = "see the server's log in its data folder"
        return StoreUnavailable(f"no Redis answers at {self._address}", cause=cause, hint=hint)


def reason(exc: BaseException) -> str:
    """Return what an exception says, or its name if it says nothing."""
    return str(exc) or type(exc).__name__
