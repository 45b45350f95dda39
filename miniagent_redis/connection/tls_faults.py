"""What is wrong when TLS fails: the certificate of one side, or that the other side speaks none."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from ..config.address import Address
from ..config.redis import RedisConfig
from ..errors import StoreMisconfigured
from .tls_files import wrong_file

_CA = "set ssl_ca_certs to the file of the CA that signed it"
_ITSELF = _CA + ": it signed itself. If it often changes there, ssl_cert_reqs='none' takes any"
_NAME = "connect by a name or an address that is in the certificate"
_TOLD_NAMES = {
    "redis+sentinel": "; Sentinels tell the names of servers with `resolve-hostnames` and "
    "`announce-hostnames` set to yes",
    "redis+cluster": "; nodes tell theirs with `cluster-announce-hostname`, and "
    "`cluster-preferred-endpoint-type hostname`",
}
"""What names the servers that are not in the url."""
_OTHER_NAME = (62, 64)
# By OpenSSL's number of what is wrong with a certificate (x509_vfy.h).
_CERTIFICATE = {
    9: "it begins to be valid later: set the clocks right, or install one that is valid now",
    10: "install a new one there, or set this machine's clock right",
    18: _ITSELF,
    19: _CA,
    20: _CA,
    21: _CA,
    23: "it was revoked: install a new one there",
    62: _NAME,
    64: _NAME,
}
_WANTED = ("CERTIFICATE_REQUIRED", "ALERT_HANDSHAKE_FAILURE")
_OLD = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE")
_OURS = (
    "ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_REVOKED", "ALERT_CERTIFICATE_UNKNOWN", "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_DECRYPT_ERROR", "ALERT_ACCESS_DENIED",
)  # fmt: skip
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL")
_NO_FILE = (FileNotFoundError, PermissionError, IsADirectoryError)


CLOSED = (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)
"""How the system says that the other side has closed the connection."""


def source(exc: BaseException) -> BaseException:
    """Return the error of the socket that redis-py's is about, or that one itself.

    Its context may be something else: an exception that the caller was just dealing with.
    """
    inner = exc.__cause__ or exc.__context__
    is_about = isinstance(inner, OSError) and inner.args and str(inner.args[-1]) in str(exc)
    return inner if inner is not None and is_about else exc


def scheme(address: Address, *, is_tls: bool) -> str:
    """Return how a url for such an address begins, with TLS or without."""
    return address.kind.replace("rediss", "redis").replace("redis", "rediss" if is_tls else "redis")


def tls_misconfigured(
    exc: BaseException, config: RedisConfig, sentinel: str = ""
) -> StoreMisconfigured | None:
    """Return the error to raise when TLS was refused for good; None if that is not what it is.

    ``sentinel`` is the place of the Sentinel that was spoken to, if it was one.
    """
    fault, address = source(exc), config.address
    whose = f"the Sentinel at {sentinel}" if sentinel else f"Redis at {address}"
    if isinstance(fault, ssl.SSLCertVerificationError):
        hint = _CERTIFICATE.get(fault.verify_code, "install one there that is in order")
        if fault.verify_code in _OTHER_NAME:
            hint += _TOLD_NAMES.get(address.kind, "")
        return StoreMisconfigured(
            f"the certificate of {whose} is not accepted",
            cause=str(fault.verify_message),
            hint=hint,
        )
    if isinstance(fault, ssl.SSLError) and not isinstance(fault, ssl.SSLEOFError):
        for reasons, problem, hint in _explanations(whose, address):
            if any(reason in str(fault) for reason in reasons):
                return StoreMisconfigured(problem, cause=str(fault), hint=hint)
        if "ALERT" not in str(fault):
            return wrong_file(config, fault)
    if isinstance(fault, _NO_FILE):
        return wrong_file(config, fault)
    return None


def _explanations(whose: str, address: Address) -> Iterator[tuple[tuple[str, ...], str, str]]:
    yield (
        _NO_TLS,
        f"what answers as {whose} does not speak TLS",
        f"write {scheme(address, is_tls=False)}:// if that port is without TLS",
    )
    yield (
        _OLD,
        f"{whose} and we have no version of TLS in common",
        "allow more in `tls-protocols` there",
    )
    yield (
        _WANTED,
        f"{whose} wants a certificate of ours",
        "set ssl_certfile and ssl_keyfile",
    )
    yield (
        _OURS,
        f"{whose} does not accept our certificate",
        "set ssl_certfile to one that is valid and signed by a CA that it trusts",
    )
