"""Pub/sub channels: notes to whoever listens right now. Nothing is kept for later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..errors import InvalidInput, MiniAgentError, StoreUnavailable
from ..records.json import check_json, dumps, loads
from ..runtime.cancellation import raise_if_cancelled
from ..runtime.durations import Duration
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import Flag, WeakRegistry
from ..runtime.outage import Patience
from ..runtime.pausing import Pause, Steps, run_in_thread
from .checks import optional_wait
from .core import StoreCore, log
from .keys import to_bytes, to_text

KEPT: Final = 10_000
"""Messages that are kept for a loop that does not come to read them; then the oldest go."""
_LOOK_AROUND = 60.0
"""Seconds after which a loop looks around though nothing has come; whatever happens wakes it."""


class Channels:
    """Publishing, subscribing and listening. Safe for threads; in a forked child, from scratch."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._subscription: _Subscription | None = None

    def publish(self, channel: str, message: Any) -> int:
        """Send a JSON value to the channel; return how many connections got it.

        Once at the most: raises OutcomeUnknown when it was sent and no reply came.
        """
        check_json(message, "the message")
        return int(self._core.call_once("PUBLISH", self._channel(channel), dumps(message)))

    def subscribe(self, channels: Sequence[str]) -> None:
        """Start to collect messages of the channels for ``get_messages``; adds to earlier ones.

        Returns when Redis has confirmed: whatever is published after that will be seen.
        """
        if not isinstance(channels, (list, tuple)) or not channels:
            raise InvalidInput('subscribe takes a list of channel names, as in ["session_updates"]')
        names = frozenset(map(self._channel, channels))
        self._core.call("PING")  # an outage is told as by any other call
        subscription = self._subscription or _Subscription()
        self._core.connections.listening.anywhere.join(subscription, names)
        subscription.names |= names
        self._subscription = subscription

    def get_messages(self, timeout: Duration | None = None) -> Iterator[dict[str, Any]]:
        """Yield messages as they come: ``{"channel": name, "data": JSON value or text}``.

        Blocks; ends after ``timeout`` seconds without a message, or on ``unsubscribe`` or
        ``disconnect`` from another thread. Several loops each get all that comes from this call on;
        what has come before, and what a loop has left, is for the next one. 10,000 are kept for a
        loop that is late. When the connection is lost it goes on as soon as Redis answers; what was
        published meanwhile is lost, as Redis keeps none of it (``watch`` misses nothing). Raises
        StoreUnavailable if an outage takes longer than ``timeout``.
        """
        return run_in_thread(self.get_messages_in_steps(timeout), self._core.clock)

    def get_messages_in_steps(self, timeout: Duration | None = None) -> Steps[dict[str, Any]]:
        """Do what ``get_messages`` does, but yield each pause instead of waiting."""
        longest = optional_wait(timeout)
        if (subscription := self._subscription) is None:
            raise InvalidInput("nothing is subscribed to", hint="call subscribe([…]) first")
        return self._read(subscription, subscription.take_mailbox(), longest)

    def _read(
        self, subscription: _Subscription, mailbox: _Mailbox, timeout: float | None
    ) -> Steps[dict[str, Any]]:
        clock = self._core.clock
        patience = Patience(clock, "listening", timeout)
        quiet_since = clock.monotonic()
        try:
            while True:
                raise_if_cancelled()
                mailbox.bell.clear()
                while message := mailbox.take():
                    channel, data = message
                    name = to_text(channel).removeprefix(self._core.keys.before_channel)
                    quiet_since = clock.monotonic()
                    yield {"channel": name, "data": _value(data)}
                if self._subscription is not subscription:
                    return
                pause = _LOOK_AROUND
                if (trouble := self._trouble(subscription)) is None:
                    patience.end()
                    if timeout is not None:
                        pause = min(pause, timeout - (clock.monotonic() - quiet_since))
                    if pause <= 0 and not mailbox.bell.is_set():
                        return
                elif isinstance(trouble, StoreUnavailable):
                    pause = patience.next_pause(trouble)
                else:
                    raise trouble
                yield Pause(mailbox.bell, pause)
        finally:
            subscription.give_back(mailbox)

    def unsubscribe(self) -> None:
        """Stop listening. Does nothing when not subscribed."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._core.connections.listening.anywhere.leave(subscription, subscription.names)
            subscription.rouse()

    def _trouble(self, subscription: _Subscription) -> MiniAgentError | None:
        listening = self._core.connections.listening.anywhere
        return next(filter(None, map(listening.trouble, subscription.names)), None)

    def _channel(self, name: str) -> bytes:
        return to_bytes(self._core.keys.channel(name))


class _Mailbox:
    """Messages for one loop."""

    def __init__(self) -> None:
        self.bell = Flag()
        self._messages: deque[tuple[bytes, bytes]] = deque(maxlen=KEPT)
        self._is_loss_told = False

    def put(self, channel: bytes, data: bytes) -> None:
        if len(self._messages) == KEPT and not self._is_loss_told:
            self._is_loss_told = True
            log.warning("a loop over get_messages() is late by %d messages; older ones are lost",
                        KEPT)  # fmt: skip
        self._messages.append((channel, data))
        self.bell.set()

    def take(self) -> tuple[bytes, bytes] | None:
        try:
            message = self._messages.popleft()
        except IndexError:
            return None
        return message


class _Subscription:
    """The channels of one store, with a mailbox for each loop and one for the next."""

    def __init__(self) -> None:
        self.names: frozenset[bytes] = frozenset()
        self._mailboxes: WeakRegistry[_Mailbox] = WeakRegistry()
        self._spare: _Mailbox | None = None
        self.give_back(self._new_mailbox())

    def _new_mailbox(self) -> _Mailbox:
        mailbox = _Mailbox()
        self._mailboxes.add(mailbox)
        return mailbox

    def take_mailbox(self) -> _Mailbox:
        """Return the one in which messages were collected while nobody read, or a new one."""
        mailbox, self._spare = self._spare, None
        return mailbox or self._new_mailbox()

    def give_back(self, mailbox: _Mailbox) -> None:
        """Go on collecting, for the next loop."""
        if self._spare is None:
            self._spare = mailbox

    def hear(self, channel: bytes, data: bytes) -> None:
        for mailbox in self._mailboxes:
            mailbox.put(channel, data)

    def rouse(self) -> None:
        for mailbox in self._mailboxes:
            mailbox.bell.set()


def _value(raw: bytes) -> Any:
    try:
        return loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")
