"""Where Redis is and how sessions behave there: RedisConfig, from code, URL or environment.

The fields below are the one table of settings. ``env`` in a field's metadata is its environment
variable and, in the Flask configuration, its key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from attrs import Attribute, define, field, fields

from .errors import InvalidInput
from .redis_url import Address, parse_url

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def _setting(default: Any, env: str, help: str, **limits: Any) -> Any:
    return field(default=default, metadata={"env": env, "help": help}, **limits)


def _positive(_: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is None and attribute.default is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < inf:
        raise InvalidInput(f"{attribute.name} must be a number above zero, not {value!r}")


def _whole(least: int, most: int = 2**53) -> Callable[[object, Attribute[Any], object], None]:
    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            limits = f"from {least} to {most}" if most < 2**53 else f"of at least {least}"
            raise InvalidInput(f"{attribute.name} must be a whole number {limits}, not {value!r}")

    return check


def _text(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{attribute.name} must be a text that is not empty, not {value!r}")


@define(kw_only=True)
class RedisConfig:
    """Connection and session settings. Times are in seconds, sizes in bytes.

    Give either ``url`` or ``host``/``port``/``db``/…; with neither, localhost:6379.
    ``RedisConfig.from_env()`` reads the environment and falls back to the embedded server.
    """

    host: str = _setting("localhost", "REDIS_HOST", "Redis server host", validator=_text)
    port: int = _setting(6379, "REDIS_PORT", "Redis server port", validator=_whole(1, 65535))
    db: int = _setting(0, "REDIS_DB", "database number", validator=_whole(0))
    username: str | None = _setting(None, "REDIS_USERNAME", "ACL user")
    password: str | None = _setting(None, "REDIS_PASSWORD", "password", repr=False)
    ssl: bool = _setting(False, "REDIS_SSL", "use TLS")
    ssl_ca_certs: str | None = _setting(None, "REDIS_SSL_CA_CERTS", "file of trusted CAs")
    ssl_certfile: str | None = _setting(None, "REDIS_SSL_CERTFILE", "client certificate file")
    ssl_keyfile: str | None = _setting(None, "REDIS_SSL_KEYFILE", "client key file")
    ssl_check_hostname: bool = _setting(
        True, "REDIS_SSL_CHECK_HOSTNAME", "compare the certificate with the host name"
    )
    url: str | None = _setting(None, "REDIS_URL", "one address instead of the above", repr=False)
    namespace: str = _setting("", "MINIAGENT_NAMESPACE", "prefix of every key, one per tenant")
    max_connections: int = _setting(
        50, "MINIAGENT_MAX_CONNECTIONS", "size of the connection pool", validator=_whole(1)
    )
    socket_timeout: float = _setting(
        1.0, "MINIAGENT_SOCKET_TIMEOUT", "wait for one reply", validator=_positive
    )
    socket_connect_timeout: float = _setting(
        0.5, "MINIAGENT_SOCKET_CONNECT_TIMEOUT", "wait for a connection", validator=_positive
    )
    retry_on_timeout: bool = _setting(
        True, "MINIAGENT_RETRY_ON_TIMEOUT", "repeat an operation whose reply did not come in time"
    )
    session_ttl: float = _setting(
        3600,
        "MINIAGENT_SESSION_TTL",
        "a session expires this long after its last use",
        validator=_positive,
    )
    session_max_age: float | None = _setting(
        None,
        "MINIAGENT_SESSION_MAX_AGE",
        "a session ends this long after its creation",
        validator=_positive,
    )
    max_session_size: int = _setting(
        1024 * 1024, "MINIAGENT_MAX_SESSION_SIZE", "largest stored thread", validator=_whole(1)
    )
    lease_ttl: float = _setting(
        30.0,
        "MINIAGENT_LEASE_TTL",
        "a silent turn may be taken over after this",
        validator=_positive,
    )
    commit_timeout: float = _setting(
        5.0,
        "MINIAGENT_COMMIT_TIMEOUT",
        "keep trying to save a finished turn for this long",
        validator=_positive,
    )
    spool_dir: str | None = _setting(
        None, "MINIAGENT_SPOOL_DIR", "folder for finished turns that could not be saved"
    )
    health_check_interval: float = _setting(
        30.0,
        "MINIAGENT_HEALTH_CHECK_INTERVAL",
        "time between background health checks",
        validator=_positive,
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> RedisConfig:
        """Read the settings from environment variables; ``overrides`` win over them.

        Without ``REDIS_URL`` and ``REDIS_HOST``, and no address in ``overrides``, the result
        points to the embedded server.
        """
        env = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for attribute in fields(cls):
            text = env.get(attribute.metadata["env"])
            if text is not None and (text or attribute.name in ("password", "namespace")):
                values[attribute.name] = _from_text(attribute, text)
        if {"host", "url"} & overrides.keys():
            for name in ("host", "url"):
                values.pop(name, None)
        elif "url" not in values and "host" not in values:
            values["url"] = "embedded://"
        return cls(**{**values, **overrides})

    @property
    def address(self) -> Address:
        """Where to connect, whichever way it was given. Raises InvalidInput for a bad URL."""
        if self.url is not None:
            return parse_url(self.url, username=self.username, password=self.password)
        return Address(
            kind="rediss" if self.ssl else "redis",
            nodes=((self.host, self.port),),
            db=self.db,
            username=self.username,
            password=self.password,
        )

    def __attrs_post_init__(self) -> None:
        _ = self.address  # a bad URL is told here, not at the first command


def _from_text(attribute: Attribute[Any], text: str) -> Any:
    kind = str(attribute.type)
    try:
        if "bool" in kind:
            if text.lower() not in _TRUE | _FALSE:
                raise ValueError("not a yes or no")
            return text.lower() in _TRUE
        if "int" in kind:
            return int(text)
        if "float" in kind:
            return float(text)
    except ValueError as exc:
        name = attribute.metadata["env"]
        raise InvalidInput(f"{name}={text!r} is not usable: {exc}") from exc
    return text
