"""Check a certificate and a key before anything runs, and make a C2PA signer of them.

C2PA's own check says "signature does not match" for most mistakes. This one looks for each of them first and names the
file and the way out; then the C2PA library signs a picture of one pixel, which has the last word.
"""

from __future__ import annotations

import datetime
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raydub.errors import Code, DependencyError
from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE, Signing, place_of, read_pem, signer, wanted

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_RSA_BITS = 2048
_ALGORITHMS = "EC P-256, P-384 or P-521, RSA of 2048 bits and more, or Ed25519"
_PRIVATE = re.compile(rb"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----.*?-----END ([A-Z]+ )*PRIVATE KEY-----", re.DOTALL)
"""`openssl ecparam -genkey` writes parameters before the key."""
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc00000030101"
    "00c9fe92ef0000000049454e44ae426082"
)


@dataclass(frozen=True)
class Signer:
    """A certificate with its key, ready to sign. chain, key: PEM; algorithm: C2PA's name; signing: what workers get;
    subject: of the certificate."""

    chain: bytes
    key: bytes
    algorithm: str
    signing: Signing
    subject: str

    def __repr__(self) -> str:
        return f"Signer({self.subject!r})"  # no key in logs and tracebacks

    def open(self) -> Any:
        """A c2pa.Signer, without a time-stamping service: nothing is asked over the network."""
        import c2pa

        info = c2pa.C2paSignerInfo(self.algorithm.encode(), self.chain, self.key, None)
        return c2pa.Signer.from_info(info)


def find_signer() -> Signer | None:
    """The signer that the environment asks for, checked; None for none.

    Raises UsageError FIELD_MISSING for a certificate without a key, DependencyError: DEPENDENCY_MISSING without the
    C2PA library; SIGNER for what cannot be read, is no certificate or key, is encrypted, has expired or is not valid
    yet, does not fit together, has an algorithm or a profile that C2PA does not allow.
    """
    if not wanted():
        return None
    need_c2pa("sign credentials")
    chain_text, certificate_at = read_pem(CERT_VARIABLE, "certificate")
    key_text, key_at = read_pem(KEY_VARIABLE, "key")
    chain = _chain(chain_text, certificate_at)
    key = _key(key_text, key_at)
    _fits(chain, certificate_at, key, key_at)
    algorithm = _algorithm(key, key_at)
    _in_time(chain[0], certificate_at)
    from cryptography.hazmat.primitives import hashes, serialization

    signing = Signing(place_of(CERT_VARIABLE), place_of(KEY_VARIABLE), chain[0].fingerprint(hashes.SHA256()).hex())
    made = Signer(
        b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        algorithm,
        signing,
        chain[0].subject.rfc4514_string(),
    )
    _try(made, certificate_at)
    return made


def need_c2pa(what: str) -> None:
    """Raise DependencyError DEPENDENCY_MISSING if the C2PA library is not installed."""
    try:
        import c2pa  # noqa: F401
    except (ImportError, OSError) as error:
        raise DependencyError(
            Code.DEPENDENCY_MISSING, f"cannot {what}: {error}", hint="pip install 'raydub[c2pa]'"
        ) from error


def _chain(text: bytes, at: str) -> list[Certificate]:
    from cryptography import x509

    if b"-----BEGIN CERTIFICATE-----" not in text:
        if b"PRIVATE KEY-----" in text:
            raise signer(f"{at} has a private key, not a certificate", "exchange certificate and key")
        hint = "convert it: openssl x509 -inform DER -in FILE -out cert.pem"
        raise signer(f"{at} is no certificate in PEM form", hint)
    try:
        return list(x509.load_pem_x509_certificates(text))
    except ValueError:
        raise signer(f"{at} has a damaged certificate", "copy it again") from None


def _key(text: bytes, at: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    found = _PRIVATE.search(text)
    if found is None:
        hint = "give the private key in PEM form: openssl pkcs8 -topk8 -nocrypt -in FILE -out key.pem"
        raise signer(f"{at} is no private key in PEM form", hint)
    try:
        return serialization.load_pem_private_key(found[0], password=None)
    except TypeError:
        hint = "give it without: openssl pkcs8 -topk8 -nocrypt -in FILE -out key.pem, readable by this user only"
        raise signer(f"{at} is a key with a password", hint) from None
    except (ValueError, UnsupportedAlgorithm):
        raise signer(f"{at} has a damaged key, or one of an unknown kind", f"use a key of {_ALGORITHMS}") from None


def _fits(chain: list[Certificate], certificate_at: str, key: Any, key_at: str) -> None:
    public = _public(key.public_key())
    if _public(chain[0].public_key()) == public:
        return
    if any(_public(one.public_key()) == public for one in chain[1:]):
        message = f"the first certificate of {certificate_at} is not that of the key"
        raise signer(message, "write the signer's certificate first, then those of its issuers")
    hint = "give the key that the certificate was made for"
    raise signer(f"{key_at} does not fit the certificate of {certificate_at}", hint)


def _public(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    found: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


def _algorithm(key: Any, at: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _RSA_BITS:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise signer(f"C2PA does not allow the algorithm of {at}", f"use a key of {_ALGORITHMS}")


def _in_time(certificate: Certificate, at: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if now > certificate.not_valid_after_utc:
        when = certificate.not_valid_after_utc.isoformat(" ", "seconds")
        raise signer(f"the certificate of {at} expired at {when}", "renew it, and check this machine's clock")
    if now < certificate.not_valid_before_utc:
        when = certificate.not_valid_before_utc.isoformat(" ", "seconds")
        raise signer(f"the certificate of {at} is not valid before {when}", "wait, or check this machine's clock")


def _try(made: Signer, at: str) -> None:
    """Sign one pixel: the library checks the certificate's profile."""
    import c2pa

    opened = {"actions": [{"action": "c2pa.created", "digitalSourceType": _NOTHING}]}
    claim = {"claim_generator_info": [{"name": "raydub"}], "assertions": [{"label": "c2pa.actions.v2", "data": opened}]}
    try:
        with made.open() as own, c2pa.Builder(claim) as builder:
            builder.sign(own, "image/png", io.BytesIO(_PIXEL), io.BytesIO())
    except (c2pa.C2paError, ValueError) as error:
        hint = (
            "C2PA wants a certificate of version 3 for digital signatures (keyUsage digitalSignature, extendedKeyUsage "
            "such as emailProtection), issued by another one, with the issuers after it in the file"
        )
        raise signer(f"the C2PA library does not accept the certificate of {at}: {error}", hint) from None


_NOTHING = "http://c2pa.org/digitalsourcetype/empty"
