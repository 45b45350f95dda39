"""Where Redis is and how sessions behave there: RedisConfig, from code, URL or environment.

The fields below are the one table of settings. ``env`` in a field's metadata is its environment
variable and, in the Flask configuration, its key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Literal

from attrs import Attribute, define, field, fields, setters

from ..runtime.checks import checked, of_kind, text, whole_number
from ..runtime.durations import duration, seconds, seconds_or_none
from . import agreement
from .address import Address
from .checks import (
    a_word,
    a_yes_or_no,
    folder,
    host_name,
    key_source,
    one_of,
    optional_text,
    provider,
    requirement,
    some_time,
    some_time_or_none,
)
from .credentials import CredentialProvider, Credentials
from .durability import DURABILITIES, Durability, refuse_what_cannot_be
from .environment import from_environment
from .options import TLS


def _about(env: str, help: str) -> dict[str, str]:
    return {"env": env, "help": help}


def _setting(default: Any, env: str, help: str, **limits: Any) -> Any:
    return field(default=default, metadata=_about(env, help), **limits)


def _forget_address(config: RedisConfig, attribute: Attribute[Any], value: Any) -> Any:
    """Have the address worked out anew after a setting was changed."""
    if attribute.name == "url" and value is not None:
        agreement.hear(config, value)
    with suppress(AttributeError):  # nobody has asked for it yet
        del config.address
    return value


@define(kw_only=True, on_setattr=[setters.convert, setters.validate, _forget_address])
class RedisConfig:
    """Connection and session settings. Times are in seconds, sizes in bytes.

    Each time may also be given as a ``timedelta``, or as text: ``"90s"``, ``"12h"``, ``"30d"``.

    Give either ``url`` or ``host``/``port``/``db``/…; what the two say differently is InvalidInput.
    With neither, Redis is where the environment says, else it is the embedded server, as with
    ``RedisConfig.from_env()``, which reads the other settings there too.
    """

    host: str = _setting(agreement.LOCALHOST, "REDIS_HOST", "Redis server host",
                         validator=host_name)  # fmt: skip
    """Name or IP address of the server."""
    port: int = _setting(6379, "REDIS_PORT", "Redis server port",
                         validator=checked(whole_number, 1, 65535))  # fmt: skip
    """Of the server, from 1 to 65535."""
    db: int = _setting(0, "REDIS_DB", "database number", validator=checked(whole_number))
    """A server has 16 of them, from 0, unless it is configured otherwise."""
    username: str | None = _setting(None, "REDIS_USERNAME", "ACL user", validator=optional_text)
    """None for the server's default user."""
    password: str | None = _setting(
        None, "REDIS_PASSWORD", "password", repr=False, validator=optional_text
    )
    """Of the user, or the server's ``requirepass``. It is never shown."""
    credential_provider: CredentialProvider | Callable[[], Credentials] | None = field(
        default=None,
        repr=False,
        validator=provider,
        metadata={"env": None, "help": "is asked for user and password at each connect"},
    )
    """In place of ``username`` and ``password``: a ``redis.CredentialProvider``, or a function
    that returns a password or ``(user, password)``. Asked at each connect, so that a password may
    change; it blocks that call."""
    ssl: bool = _setting(False, "REDIS_SSL", "use TLS", validator=a_yes_or_no)
    """As ``rediss://`` does in a ``url``."""
    ssl_ca_certs: str | None = _setting(None, "REDIS_SSL_CA_CERTS", "file of trusted CAs",
                                        validator=optional_text)  # fmt: skip
    """Path of a PEM file; None for those that the system trusts."""
    ssl_certfile: str | None = _setting(None, "REDIS_SSL_CERTFILE", "client certificate file",
                                        validator=optional_text)  # fmt: skip
    """Path of a PEM file, for servers that ask for one."""
    ssl_keyfile: str | None = _setting(None, "REDIS_SSL_KEYFILE", "client key file",
                                       validator=optional_text)  # fmt: skip
    """Path of a PEM file, the key of ``ssl_certfile``."""
    ssl_check_hostname: bool = _setting(
        True, "REDIS_SSL_CHECK_HOSTNAME", "compare the certificate with the host name",
        validator=a_yes_or_no,
    )  # fmt: skip
    """Without it anybody with a certificate of a trusted CA can pose as the server."""
    ssl_cert_reqs: str = field(
        default="required", converter=requirement,
        validator=one_of("required", "optional", "none"),
        metadata=_about("REDIS_SSL_CERT_REQS", "required, optional or none: of the certificate"),
    )  # fmt: skip
    """``none``, or None: any certificate is taken, also that of an impostor; for servers that have
    signed their own, and change it. Of a server there is no difference between the others."""
    ssl_ca_path: str | None = _setting(None, "REDIS_SSL_CA_PATH", "folder of trusted CAs",
                                       validator=optional_text)  # fmt: skip
    """Path of a folder as ``openssl rehash`` makes it."""
    ssl_ca_data: str | None = _setting(
        None, "REDIS_SSL_CA_DATA", "trusted CAs themselves", repr=False, validator=optional_text
    )
    """In PEM format, in place of a file."""
    ssl_password: str | None = _setting(
        None, "REDIS_SSL_PASSWORD", "password of the client key", repr=False,
        validator=optional_text,
    )  # fmt: skip
    """With which ``ssl_keyfile`` is encrypted."""
    protocol: int = field(
        default=2, validator=one_of(2, 3),
        metadata=_about("REDIS_PROTOCOL", "2 or 3: which RESP is spoken"),
    )  # fmt: skip
    """All that the library does is done in either; 3 is for your own commands on ``client``."""
    client_name: str | None = _setting(None, "REDIS_CLIENT_NAME", "of the connections, no spaces",
                                       validator=a_word)  # fmt: skip
    url: str | None = _setting(None, "REDIS_URL", "one address instead of the above", repr=False)
    """``redis:// rediss:// unix:// redis+sentinel:// redis+cluster:// redis+multidb:// embedded://
    memory://``; see ``config/address.py``."""
    namespace: str = _setting("", "MINIAGENT_NAMESPACE", "prefix of every key, one per tenant",
                              validator=checked(text))  # fmt: skip
    """Every key and channel begins with it and a colon."""
    max_connections: int = _setting(
        50, "MINIAGENT_MAX_CONNECTIONS", "size of the connection pool",
        validator=checked(whole_number, 1),
    )  # fmt: skip
    """At most so many commands of one store are under way at once; ``client`` may have as many."""
    call_threads: int = _setting(
        16, "MINIAGENT_CALL_THREADS", "threads for short calls of asyncio",
        validator=checked(whole_number, 1),
    )  # fmt: skip
    pool_timeout: float = field(
        default=0.5, converter=seconds, validator=checked(duration),
        metadata=_about("MINIAGENT_POOL_TIMEOUT", "wait for a free connection of the pool"),
    )  # fmt: skip
    """Who waits longer meets PoolExhausted; first come, first served."""
    socket_timeout: float = field(
        default=1.0, converter=seconds, validator=some_time,
        metadata=_about("MINIAGENT_SOCKET_TIMEOUT", "wait for one reply"),
    )  # fmt: skip
    """How long a server may keep silent; then the call is repeated, or fails."""
    socket_connect_timeout: float = field(
        default=0.5, converter=seconds, validator=some_time,
        metadata=_about("MINIAGENT_SOCKET_CONNECT_TIMEOUT", "wait for a connection"),
    )  # fmt: skip
    """How long a server may take to accept a connection."""
    retry_on_timeout: bool = _setting(
        True, "MINIAGENT_RETRY_ON_TIMEOUT", "repeat an operation whose reply did not come in time",
        validator=a_yes_or_no,
    )  # fmt: skip
    """It is done once all the same: operations know what was done already."""
    session_ttl: float | None = field(
        default=3600, converter=seconds_or_none, validator=some_time_or_none,
        metadata=_about("MINIAGENT_SESSION_TTL", "a session expires this long after its last use"),
    )  # fmt: skip
    """Each turn starts it anew. None, or "never": it does not expire."""
    waiting_ttl: float | None = field(
        default=604_800, converter=seconds_or_none, validator=some_time_or_none,
        metadata=_about("MINIAGENT_WAITING_TTL", "a session lives on while its turn waits"),
    )  # fmt: skip
    """For so long at the least, from when the turn was parked; None: until it is answered."""
    session_max_age: float | None = field(
        default=None, converter=seconds_or_none, validator=some_time_or_none,
        metadata=_about("MINIAGENT_SESSION_MAX_AGE", "a session ends this long after its creation"),
    )  # fmt: skip
    """Whatever its use; None for no such end."""
    max_session_size: int = _setting(
        16 * 1024 * 1024, "MINIAGENT_MAX_SESSION_SIZE", "largest stored thread",
        validator=checked(whole_number, 1),
    )  # fmt: skip
    """In bytes; a write that would exceed it is SessionTooLarge, or see ``on_full``. A photo from a
    telephone is 1 to 5 MB, and a third more as it is stored."""
    on_full: Literal["refuse", "trim"] = _setting(
        "refuse", "MINIAGENT_ON_FULL", "what a full session does: `refuse` or `trim`",
        validator=one_of("refuse", "trim"),
    )  # fmt: skip
    """Refuse what is too much, or let go of the oldest exchanges to make room for it."""
    max_sessions_per_user: int | None = _setting(
        None, "MINIAGENT_MAX_SESSIONS_PER_USER", "sessions that a user may have at once",
        validator=checked(whole_number, 1, optional=True),
    )  # fmt: skip
    """Creating one more is RateLimited; None for any number."""
    max_new_sessions_per_minute: int | None = _setting(
        None, "MINIAGENT_MAX_NEW_SESSIONS_PER_MINUTE", "sessions that a user may begin in a minute",
        validator=checked(whole_number, 1, optional=True),
    )  # fmt: skip
    """Creating one more is RateLimited, whether the others are still there; None for any number."""
    lease_ttl: float = field(
        default=30.0, converter=seconds, validator=some_time,
        metadata=_about("MINIAGENT_LEASE_TTL", "a silent turn may be taken over after this"),
    )  # fmt: skip
    """Its holder renews it in the background for as long as it lives."""
    commit_timeout: float = field(
        default=5.0, converter=seconds, validator=some_time,
        metadata=_about(
            "MINIAGENT_COMMIT_TIMEOUT", "keep trying to save a finished turn for this long"
        ),
    )  # fmt: skip
    """Then it goes to the spool, or TurnNotSaved carries the answer."""
    durability: Durability | None = field(
        default=None, validator=one_of(None, *DURABILITIES), metadata=_about(
            "MINIAGENT_DURABILITY", "demand: `memory`, `everysec`, `always` or `replicated`"
        ),
    )  # fmt: skip
    """How safe a turn has to be when it is acknowledged: docs/topologies.md. A server that does
    less is StoreMisconfigured; None demands nothing."""
    min_replicas: int = _setting(
        1, "MINIAGENT_MIN_REPLICAS", "how many have to confirm each write, where `replicated`",
        validator=checked(whole_number, 1),
    )  # fmt: skip
    """At the least; all that are connected have to. With fewer it is NotDurable."""
    strict: bool = _setting(
        False, "MINIAGENT_STRICT", "refuse a server that may lose live sessions",
        validator=a_yes_or_no,
    )  # fmt: skip
    """One that may evict them, or that keeps nothing on disk, is StoreMisconfigured; else the store
    is ``degraded``, which ``health()`` and one warning tell."""
    spool_dir: str | None = _setting(
        None, "MINIAGENT_SPOOL_DIR", "folder for finished turns that could not be saved",
        validator=folder,
    )  # fmt: skip
    """They are saved from there when Redis is back; None for no spool."""
    encryption_keys: str | Callable[[], Any] | None = field(
        default=None, repr=False, validator=key_source, metadata=_about(
            "MINIAGENT_ENCRYPTION_KEYS", "encrypt what is stored: ID:BASE64,… or file:/path"
        ),
    )  # fmt: skip
    """Or a function that returns a KeyRing of ``miniagent_redis.crypto``, which tells more."""
    health_check_interval: float = field(
        default=30.0, converter=seconds, validator=some_time,
        metadata=_about("MINIAGENT_HEALTH_CHECK_INTERVAL", "time between background health checks"),
    )  # fmt: skip
    """Calls notice an outage by themselves; this is for times without any."""

    @classmethod
    def given(cls, config: RedisConfig | None, name: str = "config") -> RedisConfig:
        """Return the configuration that was given as ``name``, by default that of the environment.

        Raises InvalidInput for anything else.
        """
        if config is None:
            return cls.from_env()
        hint = "write RedisConfig(url=…)" if isinstance(config, str) else "write RedisConfig(…)"
        return of_kind(config, RedisConfig, name, hint)

    @classmethod
    def from_env(cls, environ: Mapping[str, Any] | None = None, **overrides: Any) -> RedisConfig:
        """Read the settings from environment variables, or any mapping with their names as keys.

        Values may be text, as in the environment, or of the setting's own type, as in Flask's
        configuration; None is as good as absent. ``overrides`` win over them: a ``url`` or ``host``
        there over every other address. Without ``REDIS_URL`` and ``REDIS_HOST``, and no address in
        ``overrides``, the result points to the embedded server.
        """
        settings = [one for one in fields(cls) if one.metadata["env"]]
        return cls(
            **from_environment(settings, os.environ if environ is None else environ, overrides)
        )

    @cached_property
    def address(self) -> Address:
        """Where to connect, whichever way it was given; worked out once.

        Raises InvalidInput for a bad URL, and for one that other settings contradict.
        """
        if agreement.names_no_server(self):
            return RedisConfig.from_env().address
        return agreement.address_of(self)

    def __attrs_post_init__(self) -> None:
        there = RedisConfig.from_env() if agreement.names_no_server(self) else self
        agreement.take_over(self, there, TLS)
        if there.url is not None:
            agreement.hear(self, there.url)
        # A bad URL is told here, not at the first command.
        refuse_what_cannot_be(self.durability, self.address)
