"""What a url says behind its question mark, as redis-py's urls do: settings, by their names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import Attribute

from ..errors import InvalidInput
from .address import Address
from .given import converted

TLS = (
    "ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data",
    "ssl_certfile", "ssl_keyfile", "ssl_password",
)  # fmt: skip
"""Settings that are of use over TLS only."""
_KNOWN = (
    "protocol", "client_name", "socket_timeout", "socket_connect_timeout",
    "retry_on_timeout", "max_connections", "health_check_interval", *TLS,
)  # fmt: skip
_ALIASES = {"timeout": "pool_timeout"}  # of redis-py's BlockingConnectionPool
_ALWAYS_SO = {"socket_keepalive": ("true", "yes", "1")}
_NEVER = {
    "decode_responses": "the library reads the bytes itself",
    "encoding": "the library reads the bytes itself",
    "encoding_errors": "the library reads the bytes itself",
    "retry_on_error": "what may be repeated is known to the library",
}
"""Options of redis-py's urls that would break something, and why."""


def settings_of(address: Address, settings: Iterable[Attribute[Any]]) -> dict[str, Any]:
    """Return the settings that the options of a url name. Raises InvalidInput for all others.

    An option that is not known is not shown: it may be a part of a password.
    """
    by_name = {setting.name: setting for setting in settings}
    values: dict[str, Any] = {}
    for name, text in address.options:
        if text.lower() in _ALWAYS_SO.get(name, ()):
            continue
        setting = _ALIASES.get(name, name)
        if setting not in (*_KNOWN, *_ALIASES.values()):
            raise InvalidInput(
                f"the url {address} has an option that cannot be given",
                cause=f"{name}: {_NEVER[name]}" if name in _NEVER else "it is not known",
                hint="those that are known: db username password " + " ".join((*_KNOWN, *_ALIASES)),
            )
        values[setting] = converted(by_name[setting], text, f"{name} in the url")
    return values
