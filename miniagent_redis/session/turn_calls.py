"""What callers ask of an agent's turns: to submit, run, stream, start, resume, answer, cancel."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from ..agent import Instructions, OnClose, TurnOptions
from ..models import Event, Message, TurnResult, TurnState
from ..runtime.pausing import at_once, without_pauses
from ..store.parking import Answer
from ..tools import ToolRegistry, Tools
from .asked import Asked
from .futures import Submitted
from .results import to_its_end
from .turns import AgentTurns, Started


class TurnCalls:
    """The calls of an agent that concern turns, in one namespace: their options are read here."""

    def __init__(self, turns: AgentTurns, tools: ToolRegistry) -> None:
        self._turns = turns
        self._tools = tools

    def submit(
        self,
        session_id: str,
        message: str | Message,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> Submitted:
        """Start a turn in the pool; the future has its result or its error.

        Its ``turn_id`` and ``cursor`` are known at once. The turn begins before this returns, in
        one round trip, unless the session is busy: then it waits for its place in the pool.
        Options as in ``stream``: what is wrong with them is raised here.
        """
        given = (user_id, turn_id, instructions, tools, params, output)
        asked = Asked.given(self._tools, session_id, message, *given)
        return self._turns.submit(asked)

    def run(
        self,
        session_id: str,
        message: str | Message,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> TurnResult:
        """Run a turn to its end; return its result. Blocks. Options and errors as in ``stream``."""
        given = (user_id, turn_id, instructions, tools, params, output)
        asked = Asked.given(self._tools, session_id, message, *given)
        return to_its_end(self._turns.stream(asked))

    def stream(
        self,
        session_id: str,
        message: str | Message,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
        on_close: OnClose = "keep",
    ) -> Generator[Event, None, TurnResult]:
        """Run a turn, yielding its events as they happen; the generator's value is the result.

        For this turn alone, ``instructions`` take the place of ``AgentConfig.system_prompt``, as
        text or as a function of a ToolContext, ``tools`` that of the agent's, and ``params`` are
        for the model, with those of the configuration: None takes one away. ``output`` is a class,
        or a type such as ``list[str]``: the answer is one JSON value that fits it, and
        ``TurnResult.output`` is the instance. The model is told what does not fit, twice; its next
        answer that does not fit is stored as interrupted, and ModelError raised. Its text comes in
        one piece, once it fits. The options are not stored: a turn that another process finishes
        is finished as the agent is configured there, with an ``output`` of None.

        The turn begins at the first ``next``. The last event is AGENT_RESPONSE, and by then the
        turn is stored; or TURN_WAITING, if others have to answer calls first. One that an error
        ends leaves the thread as it was if no tool has run and no text was shown; else it is stored
        as far as it came, marked as interrupted, and the error raised behind that, with ``text``
        and ``steps`` if it is one of ours. An abandoned turn of the session is finished first. If
        Redis is away at the end of the turn and there is a ``spool_dir``, the turn goes there and
        ``persisted`` is False.

        ``on_close`` says what becomes of a turn that its reader leaves: who closes or drops the
        iterator, or whose task is cancelled. "keep" stores it as far as it came, in the same way.
        "drop" leaves the thread as it was, unless a tool has run: what was done is kept all the
        same. "finish" has the agent's pool work on the turn from the beginning, as on one of
        ``submit``: it is stored whole, whoever reads, and finished elsewhere if this process dies.
        Else a reader that asks for nothing for ``AgentConfig.reader_timeout`` seconds may lose the
        turn to whoever wants the session, who finishes it.

        With a ``turn_id`` of your own (``[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}``) the call may be
        repeated, anywhere and at any time: no message is stored and no tool run twice. A repetition
        joins the turn while it runs, and yields its stored events; later it yields what is stored
        of it, also of one that was interrupted, without an error. A turn of which nothing was
        stored is begun anew. Raises SessionNotFound, SessionBusy, SessionWaiting, SessionTooLarge,
        RateLimited, TurnSuperseded, TurnNotSaved, TurnUncertain, ModelError, InvalidInput (also for
        a ``turn_id`` of another message) or StoreUnavailable.
        """
        given = (user_id, turn_id, instructions, tools, params, output, on_close)
        asked = Asked.given(self._tools, session_id, message, *given)
        return without_pauses(self._turns.stream(asked))

    def start(
        self,
        session_id: str,
        message: str | Message,
        turn_id: str | None = None,
        user_id: str | None = None,
        *,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> Started:
        """Begin a turn that goes on in this process's pool; return its ``turn_id`` and ``cursor``.

        Then the message is stored and the turn is done, whoever reads of it or leaves: with
        ``watch(session_id, after=cursor)``, ``watch(session_id, turn_id=turn_id)`` or ``turn``.
        A repetition with the same ``turn_id`` starts nothing and returns the same. Blocks
        while another turn runs, up to ``busy_timeout``, or finishes one that was abandoned.
        Options as in ``stream``. Raises SessionNotFound, SessionBusy, SessionWaiting,
        SessionTooLarge, RateLimited, InvalidInput, TurnUncertain or StoreUnavailable; what goes
        wrong later is told as TURN_FAILED, and logged.
        """
        asked = Asked.given(
            self._tools, session_id, message, user_id, turn_id, instructions, tools, params, output
        )
        return at_once(self._turns.start(asked))

    def turn(self, session_id: str, turn_id: str, user_id: str | None = None) -> TurnState:
        """Tell how a turn stands, whoever works on it: see ``TurnState``.

        One round trip, and a look into the thread for one that is over. Raises SessionNotFound,
        InvalidInput or StoreUnavailable.
        """
        return self._turns.named.state(session_id, turn_id, user_id)

    def resume_turn(self, session_id: str, *, user_id: str | None = None) -> TurnResult | None:
        """Finish the session's abandoned turn; None if it has none.

        A turn is abandoned when its process died, or lost Redis, and its lease has ended: then its
        staged steps are used again. While the lease runs this waits or fails as ``on_busy`` says;
        a running turn is never interrupted. The next ``chat`` does the same by itself. Options of
        the turn are not known: it is finished as the agent is configured. Errors as in ``stream``.
        """
        return at_once(self._turns.resume(session_id, user_id))

    def answer(
        self,
        session_id: str,
        turn_id: str,
        answers: Mapping[str, Answer],
        *,
        user_id: str | None = None,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> TurnResult:
        """Answer calls for which a parked turn waits; with the last one, finish the turn here.

        ``answers`` has, by the id of the call, its result (text, or a ToolResult), ``Approve()`` or
        ``Deny(why)``. Returns what the turn came to: while other calls wait, and if it is parked
        again, they are the result's ``waiting``. A call that is answered already is passed over, so
        this may be repeated: what was over is returned as it was stored. Options are for the rest
        of the turn, as in ``stream``. Blocks while the turn works. Raises InvalidInput for a turn
        or call that does not wait, SessionNotFound, and what ``stream`` raises.
        """
        options = TurnOptions.given(self._tools, instructions, tools, params, output)
        return at_once(self._turns.answer(session_id, turn_id, answers, user_id, options))

    def cancel(
        self, session_id: str, *, user_id: str | None = None, turn_id: str | None = None
    ) -> bool:
        """End the session's turn, on whichever instance; return whether there is one.

        That is the turn which is open now, and none that is begun while this is on its way to
        Redis; or, with a ``turn_id``, only the one named. Does not wait for one that runs. It ends
        at once, or within a second on another instance, with what there is of the answer: stored
        and returned as ``interrupted``. A request to a model is ended with it; what a model
        function or a tool gives later is thrown away. The calls of one that is parked are declined.
        Raises SessionNotFound, OutcomeUnknown (it is forgotten whether it was asked) or
        StoreUnavailable.
        """
        return self._turns.cancel(session_id, turn_id, user_id)
