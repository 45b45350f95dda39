"""The loop that works out a turn: ask the model, run the tools it wants, ask again.

A generator that does no I/O. It yields what is to be done, is sent what came of it, and returns
the answer; agent.py does the doing. So every path can be tested without threads or models.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence, Set
from typing import Any

from attrs import asdict, evolve, frozen

from ..errors import ModelError
from ..llm import ModelRequest, Reply, ToolSpec
from ..models import Message, ToolCall, ToolResult, Usage, WaitingCall
from ..models.inquiry import inquiries_of, open_question
from ..tools import ToolRegistry
from .call_results import cancelled, open_calls, result_message, unknown_outcome
from .config import AgentConfig
from .context import ESTIMATE, ContextWindow, View
from .turn_context import TurnContext
from .view import History
from .wrongs import (
    ORDINARY,
    asked_again,
    check_reply,
    check_row,
    is_malformed,
    refused,
    wrongs_in_a_row,
)


@frozen
class AskModel:
    """Send back the model's Reply."""

    request: ModelRequest


@frozen
class StartTools:
    """Start these calls, and wait for none."""

    calls: tuple[ToolCall, ...]


@frozen
class AwaitTool:
    """Send back the ToolResult of the started call that finishes next."""


@frozen
class Stage:
    """Keep these messages, so that whoever resumes the turn starts behind them."""

    messages: tuple[Message, ...]


@frozen
class Park:
    """Leave the turn until somebody has answered these calls; gone on with only if cancelled."""

    calls: tuple[WaitingCall, ...]


@frozen
class Show:
    """Tell of this text of the answer."""

    text: str


Action = AskModel | StartTools | AwaitTool | Stage | Park | Show
Outcome = Reply | ToolResult | None


@frozen(kw_only=True)
class TurnLoop:
    """One turn: its fixed surroundings. ``run`` is the loop; ``specs`` are of ``tools``.

    The configuration has the instructions of the turn as text. ``params`` are its own by default.
    """

    config: AgentConfig
    tools: ToolRegistry
    specs: tuple[ToolSpec, ...]
    turn: TurnContext
    params: dict[str, Any] | None = None

    def run(
        self, history: History, staged: Sequence[Message]
    ) -> Generator[Action, Outcome, Message | None]:
        """Yield actions until the model has answered, and return its answer, which is not staged.

        None, behind a Park, if others have to answer calls first; ours of the same reply are done.

        ``history`` is the thread before this turn. ``staged`` are this turn's messages so far:
        the user's, and in a resumed turn what was staged after it. Tool results among them are
        used as they are; calls without one are run, unless the tool is not idempotent: then the
        model is told that the outcome is unknown. A call that cannot be run has a result that says
        so, and the turn goes on. The last of ``max_steps`` replies is asked for without tools, so
        that it is an answer. Raises ModelError for an unusable reply, for three in a row of which
        no call could be run, or if the last one calls tools all the same.
        """
        steps = list(staged)
        window = ContextWindow(self.config, self.specs, history)
        if (yield from self._resume(steps)):
            return None
        asked = sum(message.role == "assistant" for message in steps)
        wrongs = wrongs_in_a_row(steps)
        note: tuple[Message, ...] = ()  # what the model is told, and is not stored
        lost = Usage()  # of replies that are not stored
        for step in range(asked + 1, self.config.max_steps + 1):
            check_row(wrongs, lost)
            view = window.view(steps)
            is_last = step == self.config.max_steps  # nobody would see what its tools find
            request = ModelRequest(
                messages=view.messages + note,
                tools=() if is_last else self.specs,
                system=str(self.config.system_prompt) or None,
                params=self.config.params if self.params is None else self.params,
                timeout=self.config.model_timeout,
                first_timeout=self.config.first_timeout,
                session_id=self.turn.session_id,
                user_id=self.turn.user_id,
            )
            reply = yield AskModel(request)
            assert isinstance(reply, Reply)
            if is_malformed(reply) and not reply.interrupted:
                wrongs.append(f"its call of a tool could not be read: {reply.finish_detail}")
                note, lost = asked_again(reply), lost + reply.usage
                continue
            if not reply.interrupted:
                check_reply(reply, steps)
            if is_last and self.specs and reply.finish_reason in ORDINARY:
                reply = evolve(reply, finish_reason="max_steps")
            message = self._reply_message(reply, view, lost)
            if not reply.tool_calls or reply.interrupted:
                return message
            if is_last:
                break
            results = refused(reply)
            # Kept at once, so that whoever resumes the turn does not run them either.
            staged = (message, *(result_message(self.turn, result) for result in results))
            steps.extend(staged)
            yield Stage(staged)
            not_run = {result.call_id for result in results}
            sound = [call for call in reply.tool_calls if call.id not in not_run]
            if (yield from self._run_tools(sound, steps)):
                return None
            bad = wrongs_in_a_row(steps[-1 - len(reply.tool_calls) :])
            wrongs, note, lost = [*wrongs, *bad] if bad else [], (), Usage()
        check_row(wrongs, lost)
        raise ModelError(
            f"the model did not come to an answer within {self.config.max_steps} steps",
            cause=wrongs[-1]
            if wrongs
            else "each of its replies asked for more tools, also the last, which was given none",
            hint="raise AgentConfig.max_steps, or make the tools' results easier to use",
        )

    def _resume(self, steps: list[Message]) -> Generator[Action, Outcome, bool]:
        """Finish the calls that an earlier holder of the turn left without a result.

        Returns whether the turn is parked with some of them. What was approved is run, unless
        another holder may have begun to: then it is not run again, whatever the tool.
        """
        ours: list[ToolCall] = []
        approved: set[str] = set()
        waiting: list[WaitingCall] = []
        lost: list[Message] = []
        for call in open_calls(steps):
            tool = self.tools.get(call.name)
            if (asks := self._asks(call, steps)) is not None:
                waiting.append(asks)
            elif (decided := self.turn.decision(call, steps)) == "approved":
                ours.append(call)
                if not inquiries_of(steps, call.id):
                    approved.add(call.id)
            elif decided is None and (waits := self._waits(call)) is not None:
                waiting.append(waits)
            elif decided is None and (tool is None or tool.idempotent):
                ours.append(call)
            else:
                is_answer = decided == "started"
                lost.append(result_message(self.turn, unknown_outcome(call), is_answer=is_answer))
        if lost:
            steps.extend(lost)
            yield Stage(tuple(lost))
        return (yield from self._run_or_park(ours, waiting, steps, approved))

    def _waits(self, call: ToolCall) -> WaitingCall | None:
        """Return the call as one that somebody has to answer, if that is so."""
        tool = self.tools.get(call.name)
        kind = None if tool is None else tool.waits_for(call.arguments)
        return None if kind is None else WaitingCall.of(call, kind)

    def _run_tools(
        self, calls: Sequence[ToolCall], steps: list[Message]
    ) -> Generator[Action, Outcome, bool]:
        """Run the calls that need nobody, then park the turn if any are left; return whether."""
        waits = [(call, self._waits(call)) for call in calls]
        ours = [call for call, found in waits if found is None]
        waiting = [found for _, found in waits if found is not None]
        return (yield from self._run_or_park(ours, waiting, steps))

    def _run_or_park(
        self,
        ours: Sequence[ToolCall],
        waiting: Sequence[WaitingCall],
        steps: list[Message],
        approved: Set[str] = frozenset(),
    ) -> Generator[Action, Outcome, bool]:
        if ours:
            yield from self._run_ours(ours, steps, approved)
            waiting = [*waiting, *filter(None, (self._asks(call, steps) for call in ours))]
        if waiting and not self.turn.is_cancelled:
            yield Park(tuple(waiting))
        if waiting and self.turn.is_cancelled:
            declined = tuple(result_message(self.turn, cancelled(call)) for call in waiting)
            steps.extend(declined)
            yield Stage(declined)
            return False
        return bool(waiting)

    def _asks(self, call: ToolCall, steps: Sequence[Message]) -> WaitingCall | None:
        """Return the call as one whose tool wants to know something first, if that is so."""
        question = open_question(steps, call.id)
        return None if question is None else WaitingCall.of(call, "input", question)

    def _run_ours(
        self, calls: Sequence[ToolCall], steps: list[Message], approved: Set[str]
    ) -> Generator[Action, Outcome, None]:
        yield StartTools(tuple(calls))
        for _ in calls:
            result = yield AwaitTool()
            assert isinstance(result, ToolResult)
            is_answer = result.call_id in approved
            message = result_message(self.turn, result, is_answer=is_answer)
            steps.append(message)
            yield Stage((message,))

    def _reply_message(self, reply: Reply, view: View, lost: Usage) -> Message:
        """Return what is stored of the reply; ``lost`` was used by those before that are not."""
        metadata = view.noted
        is_asked_again = any(lost.amounts())
        if usage := (reply.usage + lost if is_asked_again else reply.usage).to_dict():
            metadata["usage"] = usage
            if view.estimate is not None and reply.usage.input_tokens and not is_asked_again:
                metadata[ESTIMATE] = view.estimate
        if reply.interrupted:
            metadata["interrupted"] = reply.interrupted
        if reply.cached:
            metadata |= {
                "cached": True,
                "saved_seconds": reply.saved_seconds,
                "saved_tokens": reply.saved_tokens,
            }
        if reply.finish_reason not in ORDINARY:
            metadata["finish_reason"] = reply.finish_reason
            if reply.finish_detail:
                metadata["finish_detail"] = reply.finish_detail
        elif not (reply.text or reply.tool_calls or reply.parts or reply.interrupted):
            metadata["finish_reason"] = "stop"  # that it says nothing is meant so
        if reply.blocks:
            metadata["blocks"] = [asdict(block) for block in reply.blocks]
        said = [{"type": "text", "text": reply.text}] if reply.text else []
        return Message(
            "assistant",
            [*said, *reply.parts] if reply.parts else reply.text,
            tool_calls=reply.tool_calls,
            turn_id=self.turn.turn_id,
            created_at=self.turn.clock.time(),
            metadata=metadata,
        )
