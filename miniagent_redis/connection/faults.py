"""What redis-py's exceptions mean: the one place that reads them.

Three kinds: refused before execution (worth another try), misconfigured (told at once), and reply
lost (executed or not, nobody knows).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions as rx

from ..config.redis import RedisConfig
from ..errors import MiniAgentError, PoolExhausted, StoreMisconfigured, StoreUnavailable
from .refusals import NOT_LET_IN, REDIRECTED, Refusal, find_refusal
from .tls_faults import CLOSED, scheme, source, tls_misconfigured
from .tls_probe import TLS_WANTED
from .topology import NotThere

_NOT_WANTED = ("without any password configured", "no password is set")
_WEB = ('got "H" as', 'got "<" as', "HTTP/", "<!DOCTYPE", "<html")
_TLS = ('got "\x15" as', 'got "\\x15" as', "\\x15\\x03", TLS_WANTED)  # an alert, and ours
# Of getaddrinfo, on Linux and on macOS.
_NO_SUCH_HOST = ("not known", "No address associated", "name resolution")
_NO_LOGIN = "HELLO must be called with the client already authenticated"


class ReplyLost(Exception):
    """The command was sent and no reply came: it may have been executed or not.

    It is no outage if only this one connection was silent. ``moves`` is what it is of Refused.
    """

    def __init__(self, cause: str, *, is_outage: bool = True, moves: bool = False) -> None:
        super().__init__(cause)
        self.is_outage = is_outage
        self.moves = moves


class NoScript(Exception):
    """The server does not know the script yet."""


class Refused(Exception):
    """Certainly not executed, and worth another try; carries the error to raise in the end.

    ``is_outage`` is whether the server is to blame, and not the number of our own calls;
    ``refuses_writes`` whether it still answers what only reads; ``moves`` whether the server that
    is wanted may be another one by now.
    """

    def __init__(
        self,
        error: MiniAgentError,
        *,
        is_outage: bool = True,
        refuses_writes: bool = False,
        moves: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.is_outage = is_outage
        self.refuses_writes = refuses_writes
        self.moves = moves


class Faults:
    """Turns redis-py's exceptions into ours, for one configured address."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._address = address = config.address
        self._has_password = bool(address.password or config.credential_provider)

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
        if isinstance(exc, NotThere):
            return Refused(exc.error, moves=True)
        text = reason(exc)
        ours = exc.__cause__ if isinstance(exc.__cause__, PoolExhausted) else exc
        if isinstance(ours, StoreUnavailable):  # no free connection, or no credentials
            return Refused(ours, is_outage=False)
        if isinstance(ours, MiniAgentError):
            return ours
        is_answer = isinstance(exc, (rx.ResponseError, rx.AuthenticationError, rx.BusyLoadingError))
        if is_answer or "max number of clients" in text:
            return self.refusal(exc)
        if isinstance(exc, rx.InvalidResponse):
            return self._not_redis(text)
        if self._address.is_tls:
            misconfigured = tls_misconfigured(exc, self._config)
            if misconfigured is not None:
                return misconfigured
        return Refused(self._silent(exc, text), moves=self._address.kind == "redis+sentinel")

    def _not_redis(self, text: str) -> StoreMisconfigured:
        problem = f"what answers at {self._address} is not a Redis"
        by_tls = scheme(self._address, is_tls=True) + "://"
        hint = f"see whether host and port are right, and write {by_tls} if that port is for TLS"
        if any(part in text for part in _WEB):
            problem += " but a web server: it speaks HTTP"
            hint = "see whether host and port are right: it is the port of something else"
        elif any(part in text for part in _TLS):
            problem += " without TLS: it wants that"
            hint = f"write {by_tls} for that port"
            if self._address.kind == "redis":
                hint += ", or REDIS_SSL=true"
        return StoreMisconfigured(problem, cause=text, hint=hint)

    def not_sent(self, exc: Exception) -> Refused:
        """Return what to raise for a connection that broke before a command was sent whole."""
        return Refused(self.unavailable(reason(exc)))

    def _silent(self, exc: Exception, text: str) -> StoreUnavailable:
        """Build the error for a server that gave no answer, with what may be behind that."""
        error = self.unavailable(text)
        is_tls = self._address.is_tls
        other = scheme(self._address, is_tls=not is_tls) + "://"
        is_closed = isinstance(source(exc), CLOSED) or "closed by server" in text
        context = exc.__cause__ or exc.__context__
        if is_tls and is_closed:
            hint = "it may want a certificate of ours: set ssl_certfile and ssl_keyfile; or "
        elif is_tls and isinstance(exc, rx.TimeoutError) and "handshake" in str(context):
            hint = f"a port without TLS is silent like that: write {other} for one; or "
        elif is_closed and self._address.nodes:
            hint = f"a port for TLS closes connections like that: write {other} for one; or "
        else:
            return error
        cause = f"it took the connection and then: {text}"
        return StoreUnavailable(error.problem, cause=cause, hint=hint + error.hint)

    def refusal(self, exc: Exception) -> Exception:
        """Return what to raise for an error that Redis replied."""
        if isinstance(exc, rx.NoScriptError):
            return NoScript()
        if isinstance(exc, rx.AuthenticationError):
            cause = "it asks for a password first" if _NO_LOGIN in str(exc) else reason(exc)
            return self._told(Refusal("", NOT_LET_IN, self._way_in(str(exc))), cause)
        if isinstance(exc, rx.AskError) and self._address.kind == "redis+cluster":
            return self._told(REDIRECTED, reason(exc))
        return self._told(find_refusal(exc), reason(exc))

    def _told(self, refusal: Refusal, cause: str) -> Exception:
        address = self._address
        names = {"address": address, "db": address.db, "user": address.username or "default"}
        problem, hint = refusal.problem.format(**names), refusal.hint.format(**names)
        if not refusal.passing:
            return StoreMisconfigured(problem, cause=cause, hint=hint)
        return Refused(
            StoreUnavailable(problem, cause=cause, hint=hint + "; nothing was written"),
            refuses_writes=refusal.refuses_writes,
            moves=refusal.moves,
        )

    def _way_in(self, text: str) -> str:
        if any(part in text for part in _NOT_WANTED):
            return "it has no password: leave yours out, or set `requirepass` there"
        if not self._has_password:
            return "it wants a password: set RedisConfig.password or REDIS_PASSWORD, or write it "\
                "into the url, redis://:PASSWORD@…"  # fmt: skip
        return "the user name or the password is wrong: ACL LIST there shows its users"

    def unavailable(self, cause: str) -> StoreUnavailable:
        """Build the error for a server that cannot be reached."""
        hint = "start it (redis-server), or set REDIS_URL to where it runs, or to embedded:// "
        hint += "for a server of your own"
        if any(words in cause for words in _NO_SUCH_HOST):
            hint = "see whether the host's name is right: this machine cannot find it"
        if self._address.kind == "embedded":
            hint = "see the server's log in its data folder"
        elif self._address.kind == "redis+sentinel":
            hint = f"SENTINEL MASTER {self._address.service} tells which one they watch; after a "
            hint += "failover this passes by itself"
        elif self._address.kind == "redis+multidb":
            hint = "start one of its servers; miniagent-redis doctor tells what each of them says"
        return StoreUnavailable(f"no Redis answers at {self._address}", cause=cause, hint=hint)


def reason(exc: BaseException) -> str:
    """Return what an exception says, or its name if it says nothing."""
    return str(exc) or type(exc).__name__
