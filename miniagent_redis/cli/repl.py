"""The chat itself: reads a line, does what it says, and goes on whatever comes of it."""

from __future__ import annotations

import uuid
from contextlib import closing, suppress

from ..errors import MiniAgentError, SessionWaiting
from ..models import Message, TurnResult, WaitingCall, isoformat
from ..runtime.durations import Duration
from ..session import SessionManager
from .answer import Answer
from .answering import Answering
from .asking import ask, confirms
from .commands import HELP, Command, Hint, Say, parse
from .going_back import GoingBack
from .line_input import Reader
from .lookup import find_session
from .problems import show_problem
from .searching import search
from .signals import one_interrupt
from .terminal import Terminal
from .text import ago, number, short_id, span
from .transcript import load_history, show_history, show_sessions

_LISTED = 20


class Chat:
    """One person's chat. A new session is created with the first message, not before.

    ``ttl`` in seconds is given to the sessions that are resumed; None leaves them theirs.
    ``is_interactive`` is whether a person types: then Ctrl-C stops only what is being done.
    ``has_failed`` is whether anything that was asked for failed.
    """

    def __init__(
        self,
        answering: Answering,
        user: str,
        terminal: Terminal,
        *,
        ttl: Duration | None = None,
        is_interactive: bool,
    ) -> None:
        self.is_interactive = is_interactive
        self.has_failed: bool = False
        self._answering = answering
        self._user = user
        self._terminal = terminal
        self._ttl = ttl
        self.begin()

    def begin(self) -> str:
        """Prepare a new session; return what to say of it."""
        self._manager: SessionManager = self._answering.begun_with("")
        self.session_id: str = str(uuid.uuid4())
        self.is_created: bool = False
        ttl = self._manager.store.config.session_ttl
        kept = "for good" if ttl is None else f"for {span(ttl)} after its last use"
        return f"Session {short_id(self.session_id)} (new, kept {kept}), {self._who()}."

    def resume(self, wanted: str) -> str:
        """Go on with the session that is meant, and its model; return what to say of it.

        Raises MiniAgentError if there is none.
        """
        current = self.session_id if self.is_created else None
        found = find_session(self._manager, self._user, wanted, current=current)
        store = self._manager.store
        state = store.session_state(found, user_id=self._user)
        manager = self._answering.begun_with(state.agent_name)
        if self._ttl is None:
            store.touch_session(found, user_id=self._user)
        else:
            store.extend_session_ttl(found, self._ttl, user_id=self._user)
        self.session_id, self.is_created, self._manager = found, True, manager
        used = ago(isoformat(state.last_activity))
        messages = number(state.message_count, "message")
        return f"Session {short_id(found)} ({messages}, used {used}), {self._who()}."

    def _who(self) -> str:
        return f"model {self._manager.agent.config.name}"

    def run(self, reader: Reader) -> None:
        """Do what the lines say until they end or one says quit."""
        while True:
            try:
                if not self._do_next(reader):
                    break
            except KeyboardInterrupt:
                if not self.is_interactive:
                    raise
                self._terminal.note("Ctrl-D or quit leaves.")
        if self.is_created and self.is_interactive:
            self._terminal.note("Start the chat with --continue to go on with this conversation.")

    def _do_next(self, reader: Reader) -> bool:
        """Read a line and do what it says; return whether the chat goes on."""
        line = reader.read()
        typed = Command("quit") if line is None else parse(line)
        if typed is None:
            return True
        if isinstance(typed, Command) and typed.name in ("quit", "exit"):
            return False
        try:
            self._do(typed, reader)
        except MiniAgentError as exc:
            self.has_failed = True
            show_problem(self._terminal, exc)
        if self.is_interactive:
            self._terminal.plain("")
        return True

    def _do(self, typed: Say | Command | Hint, reader: Reader) -> None:
        match typed:
            case Say(text):
                self._say(text, reader)
            case Hint(text):
                self.has_failed = True
                self._terminal.plain(text)
            case Command("new"):
                self._terminal.note(self.begin())
            case Command("list"):
                self._list()
            case Command("resume", wanted):
                self._terminal.note(self.resume(wanted))
            case Command("history"):
                self._history()
            case Command("clear"):
                self._clear(reader)
            case Command("title", title):
                self._title(title)
            case Command("search", words):
                search(self._terminal, self._manager, self._user, words)
            case Command("fork" | "rewind" | "edit" | "regenerate" as name, argument):
                self._go_back(name, argument, reader)
            case Command("help"):
                self._terminal.plain("\n".join(filter(None, (HELP, reader.tip))))
            case _:
                raise AssertionError(typed)

    # --- commands -----------------------------------------------------------------------------

    def _list(self) -> None:
        sessions = self._manager.list_sessions(self._user, _LISTED)
        if not sessions:
            self._terminal.note("There are no sessions yet: one begins with your first message.")
            return
        show_sessions(self._terminal, self._manager, self._user, sessions, current=self.session_id)
        if sessions.cursor and self._manager.list_sessions(self._user, 1, sessions.cursor):
            self._terminal.note("These are the latest; resume finds the older ones too.")

    def _history(self) -> None:
        if not self.is_created:
            self._terminal.note("Nothing has been said in this session yet.")
        elif said := load_history(self._terminal, self._manager, self._user, self.session_id):
            show_history(self._terminal, said)
        else:
            self._terminal.note("Nothing is stored of what was said in this session.")

    def _clear(self, reader: Reader) -> None:
        """Forget what was said; a person is asked, as a pasted line may be that one word."""
        question = "Forget what was said in this session? It cannot be undone."
        asks = self.is_created and self.is_interactive
        if asks and not confirms(self._terminal, reader, question):
            self._terminal.note("Nothing is forgotten.")
        elif self.is_created and self._manager.clear_history(self.session_id, user_id=self._user):
            self._terminal.note("What was said in this session is forgotten.")
        else:
            self._terminal.note("There is nothing to forget in this session.")

    def _title(self, title: str) -> None:
        if self.is_created:
            self._manager.set_title(self.session_id, title, user_id=self._user)
            self._terminal.note("The session has that title now.")
        else:
            self._terminal.note("A session gets a title once something was said in it.")

    def _go_back(self, name: str, argument: str, reader: Reader) -> None:
        """Go back in the conversation, or in a copy of it; what was said since is kept."""
        if not self.is_created:
            self._terminal.note("Nothing has been said in this session yet.")
            return
        back = GoingBack(self._manager, self._user, self.session_id)
        if name == "fork":
            self.session_id = back.fork(int(argument or 0))
            self._terminal.note(f"Session {short_id(self.session_id)} goes on from here.")
            return
        message, branch = back.rewind(int(argument or 1) if name == "rewind" else 1)
        self._terminal.note(f"What was said is kept as session {short_id(branch)}.")
        if name != "rewind":
            self._say(argument or message, reader)

    # --- messages -----------------------------------------------------------------------------

    def _say(self, text: str | Message, reader: Reader) -> None:
        """Send the message, print the answer, and ask for what the turn waits for, if it does."""
        try:
            waits = self._send(text)
        except SessionWaiting as exc:
            self._terminal.note("Before that, an earlier turn of this session waits for an answer.")
            if self._ask(reader, exc):
                self._say(text, reader)
        else:
            if waits is not None:
                self._ask(reader, waits)

    def _ask(self, reader: Reader, waits: SessionWaiting) -> bool:
        """Ask for what a turn waits for; return whether it is over then."""
        calls = [call for call in waits.calls if isinstance(call, WaitingCall)]
        while calls:
            answers = ask(self._terminal, reader, calls)
            if answers is None:
                self._terminal.note("The turn waits: resume this session to answer.")
                return False
            result = self._manager.answer(
                self.session_id, waits.turn_id, answers, user_id=self._user
            )
            calls = list(result.waiting)
            Answer(self._terminal).show_text(result.text)
        return True

    def _send(self, text: str | Message) -> SessionWaiting | None:
        """Send the message and print the answer. Ctrl-C stops it, without leaving the chat.

        Returns what the turn waits for, if it was parked.
        """
        is_first = not self.is_created
        if is_first:
            self._manager.create_or_resume_session(self._user, self.session_id)
            self.is_created = True
        answer = Answer(self._terminal)
        with one_interrupt() as interrupt:
            try:
                return self._stream(text, answer)
            except (KeyboardInterrupt, Exception):
                if not interrupt.has_come:
                    raise
                self._tell_stopped(answer)
                if not self.is_interactive:
                    raise KeyboardInterrupt from None
            finally:
                answer.end()
                if is_first and not answer.is_complete:
                    self._drop_if_empty()

        return None

    def _stream(self, text: str | Message, answer: Answer) -> SessionWaiting | None:
        turn = self._manager.agent.stream(self.session_id, text, user_id=self._user)
        with closing(turn) as events:
            while True:
                try:
                    answer.show(next(events))
                except StopIteration as end:
                    result: TurnResult | None = end.value
                    break
        if result is None or not result.waiting:
            return None
        return SessionWaiting(self.session_id, result.turn_id, result.waiting)

    def _drop_if_empty(self) -> None:
        """Leave no session behind whose only message failed."""
        with suppress(MiniAgentError):
            if not self._manager.get_history(self.session_id, 1, user_id=self._user):
                self.is_created = False
                self._manager.end_session(self.session_id, user_id=self._user)

    def _tell_stopped(self, answer: Answer) -> None:
        """Say what became of a stopped turn: Ctrl-C may have come a moment too late."""
        resolve = self._manager.store.resolve_turn
        turn_id = answer.turn_id
        saved = turn_id and resolve(self.session_id, turn_id, user_id=self._user) == "committed"
        if not answer.end():
            self._terminal.plain("")  # the terminal shows ^C where the answer would be
        if not saved:
            self._terminal.note("Stopped. Your message is not kept.")
            return
        (last,) = self._manager.get_history(self.session_id, 1, user_id=self._user)
        self._terminal.note(
            "Stopped. Your message is kept, and what there is of the answer."
            if "interrupted" in last["metadata"]
            else "Stopped, but the answer was saved already."
        )
