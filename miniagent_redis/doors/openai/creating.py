"""Creating a response: the turn that it is gets its session, its name, its options, and begins.

Whoever asked may leave: the turn goes on in this process's pool, and other instances finish it if
the process dies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from ...agent.view import is_summary
from ...errors import SessionExists, SessionNotFound, SessionWaiting
from ...models import Message, ToolResult, WaitingCall
from ...session import SessionManager
from ...store.parking import Answer, Parked
from ...store.waiting_calls import last_reply
from ..told import leg_behind, legs_of
from .checks import Json, refuse
from .echo import ECHO
from .faults import not_found
from .given import split
from .ids import ItemId, ResponseId, conversation_id
from .options import options_of, turn_options
from .requests import Request

_LOOKED_AT = 5  # messages at the end of a thread: summaries of it may follow what was said
STATELESS_TTL = 600
"""Seconds for which a conversation is kept that the client does not want stored: it may repeat
its request."""


@frozen
class Creating:
    """Begins turns of one user with one agent."""

    manager: SessionManager
    user_id: str

    def create(self, request: Request, name: str) -> ResponseId:
        """Begin the response and return its id; with the same ``name`` again nothing begins.

        Raises RequestRefused, and what ``SessionManager.start`` and ``answer`` raise.
        """
        options = options_of(self.manager.agent, request.echo)
        if request.previous is not None:
            return self._behind(request.previous, request, name, options)
        if request.session_id is not None:
            try:
                self.manager.store.touch_session(request.session_id, user_id=self.user_id)
            except SessionNotFound:
                given = conversation_id(request.session_id)
                raise not_found("Conversation", given, "conversation") from None
            return self._in(request.session_id, request, name, options)
        session_id = f"r{name}"
        self._make(session_id, None if request.store else STATELESS_TTL)
        return self._begin(session_id, request, name, options)

    def _behind(
        self, previous: ResponseId, request: Request, name: str, options: Json
    ) -> ResponseId:
        """Go on behind a response; if it is not the newest one, on a branch."""
        session_id = previous.session_id
        try:
            state = self.manager.turn(session_id, previous.turn_id, self.user_id)
        except SessionNotFound:
            raise _no_previous(previous) from None
        if state.state == "unknown" or previous.leg >= len(legs_of(state.steps)):
            raise _no_previous(previous)
        answers = self._answers(request)
        answered = [step for leg in legs_of(state.steps)[previous.leg + 1 :][:1] for step in leg]
        if answers and answers.keys() <= {step.tool_call_id for step in answered}:
            return previous.at(previous.leg + 1)  # a repetition
        if state.state == "waiting" or self._newest(session_id) == previous.turn_id:
            return self._in(session_id, request, name, options)
        target = f"b{name}"
        for place in (session_id, target):
            if self._has(place, name):
                return ResponseId(place, name)  # a repetition
        ttl = None if request.store else STATELESS_TTL
        self.manager.fork_session(
            session_id, previous.turn_id, new_id=target, ttl=ttl, user_id=self.user_id
        )
        return self._in(target, request, name, options)

    def _newest(self, session_id: str) -> str | None:
        """Return the turn that is the last thing in a session: the open one, if there is one."""
        store = self.manager.store
        open_turn = store.parts.open_turns.look(session_id, None, self.user_id)
        if open_turn.is_open:
            return open_turn.turn_id
        tail = store.load_tail(session_id, _LOOKED_AT, user_id=self.user_id).messages
        said = [message for message in tail if not is_summary(message)]
        return said[-1].turn_id if said else None

    def _has(self, session_id: str, turn_id: str) -> bool:
        try:
            state = self.manager.turn(session_id, turn_id, self.user_id).state
        except SessionNotFound:
            return False
        return state != "unknown"

    def _in(self, session_id: str, request: Request, name: str, options: Json) -> ResponseId:
        """Go on in a session that is there: with answers, or with a message."""
        parked = self.manager.store.parts.parking.parked(session_id, user_id=self.user_id)
        if parked is not None and parked.turn_id != name:
            return self._answer(parked, request, options)
        if parked is None and (begun := self._begun_by_answers(session_id, request)):
            return begun
        return self._begin(session_id, request, name, options)

    # --- messages -----------------------------------------------------------------------------

    def _begin(self, session_id: str, request: Request, name: str, options: Json) -> ResponseId:
        """Begin a turn with the last message of the user, behind those before it."""
        earlier, message, behind = split(request.given.steps)
        param = request.given.param
        if request.given.answers:
            ids = ", ".join(request.given.answers)
            refuse(f"No tool call found for function call output with call_id {ids}.", param)
        if message is None or (behind and behind[-1].role != "tool"):
            must = "must end with a message of the user, or outputs of tools"
            refuse(f"Invalid '{param}': it {must}.", param)
        response = ResponseId(session_id, name)
        if earlier:
            self.manager.store.append_to_thread(
                session_id, earlier, user_id=self.user_id, operation_id=f"{name}-earlier"
            )
        echo = {**request.echo, "created_at": self.manager.store.clock.time()}
        message = evolve(message, metadata={ECHO: echo})
        if behind:
            return self._replay(response, message, behind, request, options)
        self.manager.start(session_id, message, name, self.user_id, **options)
        return response

    def _replay(
        self,
        response: ResponseId,
        message: Message,
        behind: Sequence[Message],
        request: Request,
        options: Json,
    ) -> ResponseId:
        """Go on with a turn that the client kept: it is stored as parked, and then answered."""
        session_id, turn_id = response.session_id, response.turn_id
        store = self.manager.store
        if self.manager.turn(session_id, turn_id, self.user_id).state == "unknown":
            turn = store.begin_turn(session_id, message, user_id=self.user_id, turn_id=turn_id)
            last = max(place for place, step in enumerate(behind) if step.role != "tool")
            turn = store.stage_step(turn, [evolve(one) for one in behind[: last + 1]])
            calls = [WaitingCall.of(call, "result") for call in behind[last].tool_calls]
            store.parts.parking.park_turn(turn, calls)
        parked = store.parts.parking.parked(session_id, user_id=self.user_id)
        if parked is None:
            return response.at(1)  # a repetition
        answers = _results([step for step in behind if step.role == "tool"])
        return self._go_on(parked, answers, request, options)

    # --- answers ------------------------------------------------------------------------------

    def _answers(self, request: Request) -> dict[str, Answer]:
        """Return what a request gives as results and approvals, by the ids of our calls."""
        given: dict[str, Answer] = _results(request.given.steps)
        for call_id, answer in request.given.answers.items():
            item = ItemId.read(call_id) if call_id.startswith("mcpr_") else None
            given[call_id if item is None else item.place.partition(".")[2]] = answer
        return given

    def _begun_by_answers(self, session_id: str, request: Request) -> ResponseId | None:
        """Return the response that the same answers have begun; None if they have begun none."""
        answers = self._answers(request)
        if not answers or any(step.role == "user" for step in request.given.steps):
            return None
        if (turn_id := self._newest(session_id)) is None:
            return None
        steps = self.manager.turn(session_id, turn_id, self.user_id).steps
        legs = legs_of(steps)
        for number in range(len(legs) - 1, 0, -1):
            if answers.keys() <= {step.tool_call_id for step in legs[number]}:
                return ResponseId(session_id, turn_id, number)
        if answers.keys() <= {call.id for call in last_reply(steps).tool_calls}:  # one runs yet
            return ResponseId(session_id, turn_id, leg_behind(steps))
        return None

    def _answer(self, parked: Parked, request: Request, options: Json) -> ResponseId:
        """Go on with a turn that waits; refused unless all is answered for which it does."""
        waiting = {call.id for call in parked.calls}
        answers = self._answers(request)
        known = {call.id for step in parked.staged for call in step.tool_calls}
        if unknown := [one for one in request.given.answers if one not in known | waiting]:
            unknown = [one for one in unknown if not one.startswith("mcpr_")]
        if unknown:
            ids, param = ", ".join(unknown), request.given.param
            refuse(f"No tool call found for function call output with call_id {ids}.", param)
        if missing := [call for call in parked.calls if call.id not in answers]:
            raise SessionWaiting(parked.session_id, parked.turn_id, missing)
        answers = {call_id: one for call_id, one in answers.items() if call_id in waiting}
        return self._go_on(parked, answers, request, options)

    def _go_on(
        self, parked: Parked, answers: Mapping[str, Answer], request: Request, options: Json
    ) -> ResponseId:
        """Give the answers; the rest of the turn is done in the pool."""
        session_id, turn_id = parked.session_id, parked.turn_id
        leg = leg_behind(parked.staged[1:])
        echo = {**request.echo, "created_at": self.manager.store.clock.time()}
        agent = self.manager.agent
        given = turn_options(agent, request.echo)
        agent.turns.answer_soon(
            session_id, turn_id, answers, self.user_id, given, note={ECHO: echo}
        )
        return ResponseId(session_id, turn_id, leg)

    def leave(self, response: ResponseId) -> None:
        """Let a conversation that is not to be stored end soon, also if its turn is parked."""
        self.manager.store.extend_session_ttl(
            response.session_id, STATELESS_TTL, user_id=self.user_id
        )

    # --- options ------------------------------------------------------------------------------

    def _make(self, session_id: str, ttl: int | None) -> None:
        """Make a session for a response; a repetition finds it."""
        try:
            self.manager.store.create_session(
                session_id,
                ttl=ttl,
                user_id=self.user_id,
                agent_name=self.manager.agent.config.name,
            )
        except SessionExists:
            self.manager.store.touch_session(session_id, user_id=self.user_id)


def _results(steps: Sequence[Message]) -> dict[str, Answer]:
    return {
        step.tool_call_id or "": ToolResult(
            step.tool_call_id or "",
            step.name or "",
            step.text,
            is_error=bool(step.metadata.get("is_error")),
        )
        for step in steps
        if step.role == "tool"
    }


def _no_previous(previous: ResponseId) -> Exception:
    return not_found("Previous response", previous, "previous_response_id")
