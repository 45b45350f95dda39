"""The group of commands, and what becomes of a failure: words on stderr and an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click

from ..errors import InvalidInput
from .chat import chat
from .doctor import doctor
from .options import debug_option
from .problems import show_problem
from .serve import serve
from .sessions import end, forget, history, list_sessions, search
from .settings_file import read_settings_file
from .signals import orderly_exit
from .terminal import open_terminal
from .text import safe

_PROGRAM = "miniagent-redis"
_BROKEN_PIPE = 128 + 13  # what a shell reports of a tool that wrote to a closed pipe
_INTERRUPTED = 128 + 2

_EXIT_CODES = """\b
Exit codes:
  0    done
  1    failed: not found, Redis or the model did not answer, ...
  2    wrong usage
  3    unhealthy: a check of doctor failed
  130  stopped with Ctrl-C
"""


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Here, because click makes it exit code 1.
            raise click.exceptions.Exit(_close_pipe()) from None


_CONTEXT = {"max_content_width": 100, "help_option_names": ["-h", "--help"]}


@click.group(cls=_Group, epilog=_EXIT_CODES, context_settings=_CONTEXT)
@click.version_option(
    None,
    "-V",
    "--version",
    package_name=_PROGRAM,
    prog_name=_PROGRAM,
    message="%(prog)s %(version)s",
)
@debug_option
def _cli() -> None:
    """Talk to an LLM agent whose conversations live in Redis.

    Without a Redis of your own, they are kept by an embedded server on this machine.
    """


for _command in (chat, serve, list_sessions, history, search, end, forget, doctor):
    _cli.add_command(_command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line (default: the program's arguments) and exit with its code."""
    _prepare_streams()
    with orderly_exit():
        code = _run(args)
    sys.exit(code)


def _run(args: Sequence[str] | None) -> int:
    try:
        read_settings_file()
        code = _cli.main(args, prog_name=_PROGRAM, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        return _close_pipe()
    except click.Abort:  # Ctrl-C
        return _INTERRUPTED
    except click.ClickException as exc:
        # It may repeat what was typed. Newer versions of click do this themselves.
        vars(exc)["message"] = safe(exc.message)
        exc.show()
        return exc.exit_code
    except Exception as exc:
        show_problem(open_terminal(), exc)
        return 2 if isinstance(exc, InvalidInput) else 1


def _prepare_streams() -> None:
    """Make sure that no byte that comes in and no character that goes out can be an error."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _close_pipe() -> int:
    """Point stdout to nowhere, so that nothing complains when Python flushes it at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return _BROKEN_PIPE
