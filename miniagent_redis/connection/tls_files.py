"""Which of the files for TLS is wrong, and in what way: OpenSSL says neither."""

from __future__ import annotations

import ssl
from pathlib import Path

from ..config.redis import RedisConfig
from ..errors import StoreMisconfigured

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def wrong_file(config: RedisConfig, fault: BaseException) -> StoreMisconfigured:
    """Return the error for settings of TLS that OpenSSL did not take; ``fault`` is what it said."""
    for name in _FILES:
        path = getattr(config, name)
        if path is not None and (error := _wrong(name, path)) is not None:
            return error
    key = config.ssl_keyfile or config.ssl_certfile
    if key is not None and (error := _wrong_key(config, key, fault)) is not None:
        return error
    return StoreMisconfigured(
        "TLS cannot be set up",
        cause=str(fault),
        hint="see whether " + ", ".join(_FILES) + " and ssl_ca_data are in PEM format",
    )


def _wrong(name: str, path: str) -> StoreMisconfigured | None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as exc:
        return StoreMisconfigured(
            f"the file of {name} cannot be read",
            cause=f"{path}: {exc.strerror or exc}",
            hint=f"set {name} to where it is, and let the user of this process read it",
        )
    if name == "ssl_keyfile":
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (ssl.SSLError, ValueError) as exc:
        return StoreMisconfigured(
            f"the file of {name} is not a certificate",
            cause=f"{path}: {exc}",
            hint=f"set {name} to a file in PEM format: one with -----BEGIN CERTIFICATE-----",
        )
    return None


def _wrong_key(config: RedisConfig, path: str, fault: BaseException) -> StoreMisconfigured | None:
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    name = "ssl_keyfile" if config.ssl_keyfile else "ssl_certfile"
    if "PRIVATE KEY-----" not in text:
        return StoreMisconfigured(
            f"the file of {name} holds no key",
            cause=f"{path}: there is no -----BEGIN PRIVATE KEY----- in it",
            hint="set ssl_keyfile to the key of ssl_certfile, in PEM format",
        )
    if "MISMATCH" in str(fault):
        return StoreMisconfigured(
            "the key of ours does not belong to the certificate",
            cause=f"{path}: {fault}",
            hint="set ssl_certfile and ssl_keyfile to files that were made together",
        )
    if "ENCRYPTED" in text:
        is_given = config.ssl_password is not None
        return StoreMisconfigured(
            f"the key in the file of {name} cannot be decrypted",
            cause=f"{path}: it is encrypted, and "
            + ("ssl_password does not open it" if is_given else "there is no ssl_password"),
            hint="set ssl_password, or REDIS_SSL_PASSWORD, to the password of that key",
        )
    return None
