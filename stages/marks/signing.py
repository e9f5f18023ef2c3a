"""The operator's certificate and key for C2PA credentials, by path or by environment variable. Only paths and the
certificate's fingerprint travel to workers: the key is read where it signs, and is in no row, record or message."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from raydub.errors import Code, DependencyError, UsageError
from raydub.regular import read_regular

CERT_VARIABLE, KEY_VARIABLE = "RAYDUB_C2PA_CERT", "RAYDUB_C2PA_KEY"
"""Each names a file, or contains the PEM text itself."""
_FLAGS = {CERT_VARIABLE: "--c2pa-cert", KEY_VARIABLE: "--c2pa-key"}
_MAX_BYTES = 1 << 18
_BEGIN = "-----BEGIN "


@dataclass(frozen=True)
class Signing:
    """How a run signs, for its workers. cert, key: paths, "" where the variable of a worker's own environment has the
    text; sha256: fingerprint of the signer's certificate, hex."""

    cert: str
    key: str
    sha256: str

    def words(self) -> str:
        """A text that contains all of it, without secrets."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def of(words: str) -> Signing | None:
        """The opposite of words(); None for ""."""
        return Signing(**json.loads(words)) if words else None

    def use(self) -> None:
        """Set the variables of this process to the paths."""
        for name, path in ((CERT_VARIABLE, self.cert), (KEY_VARIABLE, self.key)):
            if path:
                os.environ[name] = path


def use_certificate(cert: str | None, key: str | None) -> None:
    """Record the paths of --c2pa-cert and --c2pa-key in the environment. Raises UsageError FIELD_VALUE for a text that
    is no path, which it does not repeat."""
    for name, path in ((CERT_VARIABLE, cert), (KEY_VARIABLE, key)):
        if path is None:
            continue
        if not path.strip() or is_pem(path):
            message = f"{_FLAGS[name]} takes the path of a file, not its content"
            hint = f"give a path, or set {name} where the run starts and on every node that joins videos"
            raise UsageError(Code.FIELD_VALUE, message, field=_FLAGS[name][2:], hint=hint)
        os.environ[name] = os.path.abspath(path)


def is_pem(text: str) -> bool:
    """Whether a text is PEM, or anything else that cannot be a path."""
    return _BEGIN in text or any(ord(c) < 32 for c in text) or len(text) > 4000


def wanted() -> bool:
    """Whether the environment asks for credentials. Raises UsageError FIELD_MISSING if it has one half of what they
    need."""
    given = [name for name in _FLAGS if os.environ.get(name, "").strip()]
    if len(given) == 1:
        [other] = set(_FLAGS) - set(given)
        message = f"{_FLAGS[given[0]]} ({given[0]}) is given, but {_FLAGS[other]} ({other}) is not"
        hint = "credentials need a certificate and its private key: give both, or none"
        raise UsageError(Code.FIELD_MISSING, message, field=_FLAGS[other][2:], hint=hint)
    return bool(given)


def place_of(name: str) -> str:
    """The absolute path in a variable, as workers run in other folders; "" where it has the PEM text or nothing."""
    value = os.environ.get(name, "").strip()
    return "" if not value or is_pem(value) else os.path.abspath(value)


def read_pem(name: str, what: str) -> tuple[bytes, str]:
    """The PEM text that a variable has or names, and words for where it was. what: "certificate" or "key". Raises
    DependencyError SIGNER."""
    value = os.environ.get(name, "").strip()
    if is_pem(value):
        return value.encode("utf-8", "replace"), f"the variable {name}"
    # A key that was pasted without its first line must not be shown, so only names of files are.
    shown = f"the file {value}" if os.path.exists(value) else f"the file that {_FLAGS[name]} or {name} names"
    try:
        # Of this machine, never of a bucket: objects are copied to where others may read them.
        text = read_regular(os.path.abspath(value), _MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no path"
        hint = f"give the path of the {what}, which this user may read"
        raise signer(f"{shown} cannot be read: {why}", hint) from None
    if len(text) > _MAX_BYTES:
        raise signer(f"{shown} has more than {_MAX_BYTES >> 10} KiB", f"give a PEM file with the {what} only")
    return text, shown


def signer(message: str, hint: str) -> DependencyError:
    """The error for a certificate or key that cannot sign."""
    return DependencyError(Code.SIGNER, f"credentials cannot be signed: {message}", hint=hint)
