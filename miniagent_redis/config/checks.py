"""What may stand in the settings: validators of their attributes, which raise InvalidInput."""

from __future__ import annotations

import os
from collections.abc import Callable
from ssl import VerifyMode
from typing import Any

from attrs import Attribute

from ..errors import InvalidInput
from ..runtime.checks import checked, some_text, text, yes_or_no
from ..runtime.durations import duration

Validator = Callable[[object, "Attribute[Any]", Any], None]

some_time: Validator = checked(duration, above=True)
some_time_or_none: Validator = checked(duration, above=True, optional=True)
optional_text: Validator = checked(text, optional=True)
a_yes_or_no: Validator = checked(yes_or_no)


def a_word(instance: object, attribute: Attribute[Any], value: object) -> None:
    """Take a word as CLIENT SETNAME does: ASCII, without spaces; or nothing."""
    optional_text(instance, attribute, value)
    if isinstance(value, str) and not all("!" <= letter <= "~" for letter in value):
        raise InvalidInput(f"{attribute.name} is ASCII without spaces, not {value!r:.100}")


def one_of(*known: object) -> Validator:
    """Take one of these."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value not in known or isinstance(value, (bool, float)):
            names = ", ".join(map(repr, known))
            raise InvalidInput(f"{attribute.name} is one of {names}, not {value!r:.100}")

    return check


def requirement(value: Any) -> Any:
    """Return ``"none"`` for None, ``"CERT_NONE"`` and ``ssl.CERT_NONE``, and so for the others."""
    if value is None or isinstance(value, VerifyMode):
        value = "none" if value is None else value.name
    return value.lower().removeprefix("cert_") if isinstance(value, str) else value


def folder(_: object, attribute: Attribute[Any], value: object) -> None:
    """Take a path of any kind, or None."""
    if value is not None and not isinstance(value, os.PathLike):
        some_text(value, attribute.name)


def host_name(_: object, attribute: Attribute[Any], value: object) -> None:
    """Take a name or an address, and nothing in front or behind."""
    host = some_text(value, attribute.name)
    name, colon, port = host.rpartition(":")
    if "://" in host or "@" in host:  # there may be a password in it, so it is not shown
        raise InvalidInput("host is the name or address of a server, not a url", hint="use url=")
    if host.startswith("[") or (colon and ":" not in name):  # a bare IPv6 address has several
        if port.isdecimal():
            hint = f"write host={name.strip('[]')!r:.100}, port={port}"
        else:
            hint = f"write host={(host if host[0] == '[' else name).strip('[]')!r:.100}"
        raise InvalidInput(f"host={host!r:.100} is more than a name or an address", hint=hint)


def provider(_: object, attribute: Attribute[Any], value: object) -> None:
    """Take a function, or what has ``get_credentials``, or None."""
    if value is not None and not callable(value) and not hasattr(value, "get_credentials"):
        raise InvalidInput(
            f"{attribute.name} must be a redis.CredentialProvider, or a function that returns a "
            "password or a user and a password"
        )


def key_source(_: object, attribute: Attribute[Any], value: object) -> None:
    """Take a text, or a function, or None. What is given is not shown: it may be a key."""
    if value is not None and not (callable(value) or (isinstance(value, str) and value.strip())):
        raise InvalidInput(f"{attribute.name} is a text, ID:BASE64,… or file:/path, or a function")
