"""Whether the settings say one thing: a url, what stands beside it, and what neither says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import AttrsInstance, evolve, fields

from ..errors import InvalidInput
from .address import Address, parse_url
from .options import TLS, settings_of

OF_A_HOST: Final = frozenset({"port", "db", "ssl", "username", "password"})
_ONE = "leave one of the two out"


class _Unsaid(str):
    """The host that is taken where none is given; one that is spelled alike was given."""

    __slots__ = ()

    def __reduce__(self) -> str:
        return "LOCALHOST"  # copies of a configuration, in other processes too, know it as this


LOCALHOST: Final = _Unsaid("localhost")


def names_no_server(config: Any) -> bool:
    """Whether a RedisConfig says nothing of where Redis is."""
    names = OF_A_HOST | {"credential_provider", "url"}
    others = (one for one in fields(type(config)) if one.name in names)
    return config.host is LOCALHOST and all(
        getattr(config, one.name) == one.default for one in others
    )


def take_over(config: AttrsInstance, other: AttrsInstance, names: Sequence[str]) -> None:
    """Set what another configuration says of some settings, unless this one says something."""
    for name in names:
        if getattr(config, name) == getattr(fields(type(config)), name).default:
            setattr(config, name, getattr(other, name))


def hear(config: AttrsInstance, url: str) -> None:
    """Set what the options of a url say. Raises InvalidInput if a setting says something else."""
    address = parse_url(url)
    settings = fields(type(config))
    for name, said in settings_of(address, settings).items():
        given, default = getattr(config, name), getattr(settings, name).default
        setattr(config, name, said)  # which converts it
        if given not in (default, getattr(config, name)):
            raise _contradiction(name, given, said, address)


def address_of(config: Any) -> Address:
    """Return where a RedisConfig says that Redis is; raise InvalidInput if it says two things."""
    if config.url is None:
        nodes = ((config.host, config.port),)
        address = Address("rediss" if config.ssl else "redis", nodes, config.db)
    else:
        address = parse_url(config.url)
        compare(config, address)
    refuse_what_needs_tls(config, address)
    if config.credential_provider is not None and (
        config.username or config.password or address.username or address.password
    ):
        raise InvalidInput(
            "a credential_provider stands beside a user name or a password",
            hint="give one of them",
        )
    return evolve(
        address,
        username=address.username or config.username,
        password=address.password or config.password,
    )


def compare(config: AttrsInstance, address: Address) -> None:
    """Raise InvalidInput if a setting says something else than the url of the address."""
    host, port = address.nodes[0] if len(address.nodes) == 1 else (None, None)
    said_by_url = {
        "host": host,
        "port": port,
        "db": address.db,
        "ssl": address.is_tls,
        "username": address.username,
        "password": address.password,
    }
    for setting in fields(type(config)):
        name = setting.name
        given = getattr(config, name)
        if name not in said_by_url or given in (setting.default, said_by_url[name]):
            continue
        if name in ("username", "password") and said_by_url[name] is None:
            continue
        raise _contradiction(name, given, said_by_url[name], address)


def refuse_what_needs_tls(config: AttrsInstance, address: Address) -> None:
    """Raise InvalidInput for a setting of TLS where none is spoken to a host."""
    if address.is_tls or not address.nodes:
        return
    for setting in fields(type(config)):
        if setting.name in TLS and getattr(config, setting.name) != setting.default:
            raise InvalidInput(
                f"{setting.name} is given, but no TLS is spoken to {address}",
                hint="write rediss:// in the url, or set ssl=True",
            )


def _contradiction(name: str, given: Any, said: Any, address: Address) -> InvalidInput:
    if "password" in name:
        return InvalidInput(f"the url has another {name} than {name}=", hint=_ONE)
    if name == "ssl":
        hint = f"write {address.kind.replace('redis', 'rediss')}:// in the url"
        hint = hint if address.nodes else _ONE
        return InvalidInput(f"ssl=True stands beside the url {address}", hint=hint)
    return InvalidInput(
        f"{name}={given!r} stands beside the url {address}",
        cause=f"the url says {said!r}" if said is not None else "",
        hint=_ONE,
    )
