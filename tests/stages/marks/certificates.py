"""Certificates and keys for tests, made when they are needed: a root and a signer that it has issued."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE


@dataclass(frozen=True)
class Made:
    """PEM texts: the signer's certificate with its root, its key, the root."""

    chain: str
    key: str
    root: str

    def write(self, folder: Path) -> tuple[Path, Path, Path]:
        """The files cert.pem, key.pem, root.pem."""
        paths = folder / "cert.pem", folder / "key.pem", folder / "root.pem"
        for path, text in zip(paths, (self.chain, self.key, self.root), strict=True):
            path.write_text(text)
        return paths

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Put the texts themselves into the environment."""
        patch.setenv(CERT_VARIABLE, self.chain)
        patch.setenv(KEY_VARIABLE, self.key)


def new_key(kind: str = "secp256r1") -> Any:
    """A private key."""
    from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa

    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    if kind in ("ed25519", "ed448"):
        return (ed25519.Ed25519PrivateKey if kind == "ed25519" else ed448.Ed448PrivateKey).generate()
    curves = {"secp256r1": ec.SECP256R1, "secp384r1": ec.SECP384R1, "secp521r1": ec.SECP521R1}
    return ec.generate_private_key(curves.get(kind, ec.SECP256K1)())


def pem_of(key: Any, password: bytes | None = None) -> str:
    """A key in PEM form."""
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    made: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    return made.decode()


def make(begin: float = -1, end: float = 30, kind: str = "secp256r1", name: str = "Test Studio", **usage: bool) -> Made:
    """A signer whose certificate is valid from `begin` to `end`, in days from now. usage: signs=False for one that is
    not for signatures."""
    root_key, key = new_key(), new_key(kind)
    now = datetime.datetime.now(datetime.UTC)
    root = _named("Test Root", root_key.public_key(), "Test Root", now, -100, 100)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    root = root.add_extension(_usage(certificates=True), critical=True)
    root = root.add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
    leaf = _named(name, key.public_key(), "Test Root", now, begin, end)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(signs=usage.get("signs", True)), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    leaf = leaf.add_extension(issuer, critical=False)
    made = [one.sign(root_key, hashes.SHA256()) for one in (leaf, root)]
    texts = [one.public_bytes(serialization.Encoding.PEM).decode() for one in made]
    return Made("".join(texts), pem_of(key), texts[1])


def _named(name: str, key: Any, issuer: str, now: datetime.datetime, begin: float, end: float) -> Any:
    days = datetime.timedelta
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, name), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests")]
    builder = x509.CertificateBuilder().subject_name(x509.Name(subject)).public_key(key)
    builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer), subject[1]]))
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now + days(begin)).not_valid_after(now + days(end))


def _usage(*, signs: bool = False, certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=not signs and not certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
