"""What is wrong when TLS fails: the certificate of one side, or that the other side speaks none."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from ..config.redis import RedisConfig
from ..errors import StoreMisconfigured
from .tls_files import wrong_file

_CA = "set ssl_ca_certs to the file of the CA that signed it"
_ITSELF = _CA + ": it signed itself. If it often changes there, ssl_cert_reqs='none' takes any"
_NAME = "connect by a name or an address that is in the certificate"
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


def tls_misconfigured(exc: BaseException, config: RedisConfig) -> StoreMisconfigured | None:
    """Return the error to raise when TLS was refused for good; None if that is not what it is."""
    fault, address = source(exc), config.address
    if isinstance(fault, ssl.SSLCertVerificationError):
        return StoreMisconfigured(
            f"the certificate of Redis at {address} is not accepted",
            cause=str(fault.verify_message),
            hint=_CERTIFICATE.get(fault.verify_code, "install one there that is in order"),
        )
    if isinstance(fault, ssl.SSLError) and not isinstance(fault, ssl.SSLEOFError):
        for reasons, problem, hint in _explanations(address):
            if any(reason in str(fault) for reason in reasons):
                return StoreMisconfigured(problem, cause=str(fault), hint=hint)
        if "ALERT" not in str(fault):
            return wrong_file(config, fault)
    if isinstance(fault, _NO_FILE):
        return wrong_file(config, fault)
    return None


def _explanations(address: object) -> Iterator[tuple[tuple[str, ...], str, str]]:
    yield (
        _NO_TLS,
        f"what answers at {address} does not speak TLS",
        "write redis:// if that port is without TLS",
    )
    yield (
        _OLD,
        f"Redis at {address} and we have no version of TLS in common",
        "allow more in `tls-protocols` there",
    )
    yield (
        _WANTED,
        f"Redis at {address} wants a certificate of ours",
        "set ssl_certfile and ssl_keyfile",
    )
    yield (
        _OURS,
        f"Redis at {address} does not accept our certificate",
        "set ssl_certfile to one that is valid and signed by a CA that it trusts",
    )
