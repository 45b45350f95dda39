"""What can be typed in the chat: a command if the whole line is one, else a message."""

from __future__ import annotations

from attrs import frozen

_PLAIN = ("new", "list", "history", "clear", "help", "quit", "exit")
_RESUME = "resume"

HELP = """\
  new         start a new session
  list        show your sessions
  resume ID   go on with another one: its id, the start of it, or last
  history     show what was said in this session
  clear       forget what was said in this session
  help        show this
  quit        leave, like exit or Ctrl-D

Each works with a slash before it too: /list. Anything else is a message.
To send a line that begins with a slash, double it: //home becomes /home.
Ctrl-C stops an answer."""


@frozen
class Say:
    """Send this to the model."""

    text: str


@frozen
class Command:
    """Do this: one of the words above; ``argument`` is what follows resume."""

    name: str
    argument: str = ""


@frozen
class Hint:
    """Send nothing, and say this."""

    text: str


def parse(line: str) -> Say | Command | Hint | None:
    """Return what is meant by a line; None if it is empty."""
    text = line.strip()
    if not text:
        return None
    if text.startswith("//"):
        return Say(text[1:])
    is_slashed = text.startswith("/")
    if "\n" in text and not is_slashed:
        return Say(line)  # several lines, pasted
    words = text[is_slashed:].split()
    name = words[0].lower() if words else ""
    if name in _PLAIN and len(words) == 1:
        return Command(name)
    if name == _RESUME and len(words) == 2:
        return Command(name, words[1])
    if name == _RESUME and len(words) == 1:
        return Hint("resume needs a session: its id, the start of it, or last. Type list for ids.")
    if is_slashed:
        return Hint(_no_command(name))
    return Say(line)


def _no_command(name: str) -> str:
    if name in _PLAIN or name == _RESUME:
        most = "one word" if name == _RESUME else "nothing"
        return f"/{name} takes {most} after it. To send the line as it is, start it with //."
    return f"There is no command /{name[:30]}. Type help, or start the line with // to send it."
