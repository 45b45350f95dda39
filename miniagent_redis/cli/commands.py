"""What can be typed in the chat: a command if the whole line is one, else a message."""

from __future__ import annotations

from difflib import get_close_matches

from attrs import frozen

_PLAIN = ("new", "list", "history", "clear", "help", "quit", "exit")
_RESUME = "resume"
_NUMBERED = ("fork", "rewind")
_TEXTS = {"title": "the title", "search": "words", "edit": "what you want to say"}
_REGENERATE = "regenerate"

HELP = """\
  new         start a new session
  list        show your sessions
  resume ID   go on with another one: its id, the start of it, or last
  history     show what was said in this session
  clear       forget what was said in this session
  help        show this
  quit        leave, like exit or Ctrl-D

Each works with a slash before it too: /list. These always have one:

  /title TEXT     give this session a title
  /search WORDS   find what was said, in all your sessions
  /regenerate     have your last message answered anew
  /edit TEXT      say this in the place of your last message
  /rewind [N]     go back to before your last message, or the last N of them
  /fork [N]       go on in a copy of this session, without your last N messages

What you go back from is kept as a session of its own. Anything else is a message.
To send a line that begins with a slash, double it: //home becomes /home.
Ctrl-C stops an answer."""


@frozen
class Say:
    """Send this to the model."""

    text: str


@frozen
class Command:
    """Do this: one of the words above; ``argument`` is what follows it."""

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
        return _slashed(name, text) or Hint(_no_command(name))
    return Say(line)


def _slashed(name: str, text: str) -> Command | Hint | None:
    """Return what is meant by a line with a slash that says what to do with something."""
    argument = text[1 + len(name) :].strip()
    if name == _REGENERATE and not argument:
        return Command(name)
    if name in _NUMBERED:
        if not argument or (argument.isdecimal() and argument.isascii() and len(argument) < 7):
            return Command(name, argument)
        return Hint(f"/{name} takes a number of your messages after it, or nothing.")
    if name in _TEXTS:
        return Command(name, argument) if argument else Hint(f"/{name} needs {_TEXTS[name]}.")
    return None


def _no_command(name: str) -> str:
    if name in _PLAIN or name in (_RESUME, _REGENERATE):
        most = "one word" if name == _RESUME else "nothing"
        return f"/{name} takes {most} after it. To send the line as it is, start it with //."
    names = [*_PLAIN, _RESUME, *_NUMBERED, *_TEXTS, _REGENERATE]
    close = get_close_matches(name, names, 1)
    known = f"There is no command /{name[:30]}" + (f": did you mean /{close[0]}?" if close else ".")
    return f"{known} Type help, or start the line with // to send it."
