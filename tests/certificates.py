"""Certificates made at test time by openssl: authorities, nodes and peers, good and bad."""

import hashlib
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

DAYS_VALID = 30


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    pem: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.pem.read_text())).hexdigest()


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, home: Path, name: str = "ca") -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.own = Certificate(home / f"{name}.pem", home / f"{name}.key")
        _openssl("req", "-x509", *_new_key(self.own.key), "-subj", f"/CN={name}", "-days", "30", "-out", self.own.pem)
        (home / "index.txt").write_text("")
        (home / "ca.cnf").write_text(
            f"[ca]\ndefault_ca = d\n[d]\ndatabase = {home}/index.txt\ndefault_md = sha256\ndefault_crl_days = 30\n"
        )

    @property
    def pem(self) -> Path:
        return self.own.pem

    def issue(self, name: str, days: int = DAYS_VALID) -> Certificate:
        """Sign a certificate for 127.0.0.1; with ``days`` below zero it is expired already."""
        made = Certificate(self.home / f"{name}.pem", self.home / f"{name}.key")
        request, extensions = self.home / f"{name}.csr", self.home / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1\n")
        _openssl("req", *_new_key(made.key), "-subj", f"/CN={name}", "-out", request)
        signed_by = ("-CA", self.own.pem, "-CAkey", self.own.key, "-CAcreateserial")
        _openssl(
            "x509", "-req", "-in", request, *signed_by, "-days", str(days), "-extfile", extensions, "-out", made.pem
        )
        return made

    def revoke(self, certificate: Certificate) -> Path:
        """Revoke a certificate and write the list of all that are revoked."""
        common = ("ca", "-config", self.home / "ca.cnf", "-cert", self.own.pem, "-keyfile", self.own.key)
        _openssl(*common, "-revoke", certificate.pem)
        crl = self.home / "crl.pem"
        _openssl(*common, "-gencrl", "-out", crl)
        return crl


def self_signed(home: Path) -> Certificate:
    return Authority(home, "self").own


def _new_key(key: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key)


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
