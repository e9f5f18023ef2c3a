"""Names of objects and folders in buckets: `s3://bucket/key` and `gs://bucket/key`.

A name is not a web address: `?`, `#`, `%`, spaces and emoji are ordinary characters of a key. Steps that a local copy
could not have (empty, `.`, `..`), and characters that hide what a name is, are refused.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from raydub.errors import Code, UsageError
from raydub.texts import has_utf8

SCHEMES = ("s3", "gs")
KEY_BYTES = 1024
"""The longest key of S3 and GCS, in bytes of UTF-8."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_BUCKET_LENGTH = {"s3": 63, "gs": 222}
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN = frozenset({"Cc", "Zl", "Zp"})


@dataclass(frozen=True)
class ObjectName:
    """An object, or a folder. key: without slashes at its ends, "" for the bucket itself."""

    scheme: str
    bucket: str
    key: str

    @property
    def text(self) -> str:
        """The canonical form: `s3://bucket/key`."""
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")


def is_object(text: str) -> bool:
    """Whether `text` names something in a bucket; it need not be a valid name."""
    return text[:5].lower() in ("s3://", "gs://")


def parse(text: str, field: str = "", *, folder: bool = False) -> ObjectName:
    """The name of an object. folder: of a folder, which may end in slashes and may be the bucket itself.

    Raises UsageError FIELD_VALUE, which names `field` and says what is wrong."""
    if not is_object(text):
        raise _wrong("is not a name in a bucket", field, "names look like s3://bucket/key or gs://bucket/key")
    if not has_utf8(text):
        raise _wrong("has characters without a form in UTF-8", field)
    scheme = text[:2].lower()
    bucket, _, key = text[5:].partition("/")
    _check_bucket(scheme, bucket, field)
    key = key.rstrip("/") if folder else key
    if not key and not folder:
        raise _wrong("names a bucket, and no object in it", field, "add the object's key: s3://bucket/key")
    if key:
        _check_key(key, field)
    return ObjectName(scheme, bucket, key)


def prefix(text: str, field: str = "") -> str:
    """The canonical name of a folder: without a slash at its end. Raises as parse."""
    return parse(text, field, folder=True).text


def join(base: str, relative: str, field: str = "") -> str:
    """The canonical name of `relative` (steps with `/` between them) in the folder `base`. Raises as parse."""
    return parse(f"{prefix(base, field)}/{relative}", field).text


def parent(text: str) -> str:
    """The canonical name of the folder of an object or a folder; of a bucket, the bucket. Raises as parse."""
    name = parse(text, folder=True)
    return ObjectName(name.scheme, name.bucket, name.key.rpartition("/")[0]).text


def base_name(text: str) -> str:
    """The last step of a name, "" for a bucket. Raises as parse."""
    return parse(text, folder=True).key.rpartition("/")[2]


def _check_bucket(scheme: str, bucket: str, field: str) -> None:
    if not bucket:
        raise _wrong("names no bucket", field, "names look like s3://bucket/key or gs://bucket/key")
    if "@" in bucket or ":" in bucket:
        # Somebody's password may be in it, so it is not repeated.
        raise _wrong(
            "has an account, a password or a port before the bucket",
            field,
            "credentials and endpoints come from environment variables only, see docs/objects.md",
        )
    numbers = bucket.replace(".", "")
    if (
        not _BUCKET.fullmatch(bucket)
        or len(bucket) > _BUCKET_LENGTH[scheme]
        or ".." in bucket
        or (numbers.isdecimal() and bucket.count(".") == 3)
    ):
        raise _wrong(
            f"has an invalid bucket name, {bucket!a}",
            field,
            f"3 to {_BUCKET_LENGTH[scheme]} lower-case letters, digits, '.', '-' and '_'",
        )


def _check_key(key: str, field: str) -> None:
    hidden = next((c for c in key if c in _BIDIRECTIONAL or unicodedata.category(c) in _HIDDEN), None)
    if hidden is not None:
        raise _wrong(f"has the invisible character U+{ord(hidden):04X}", field, "rename the object")
    length = len(key.encode())
    if length > KEY_BYTES:
        raise _wrong(f"has a key of {length} bytes, and object stores allow {KEY_BYTES}", field)
    for step in key.split("/"):
        if step in ("", ".", ".."):
            said = f"a step {step!r}" if step else "an empty step: two slashes in a row, or one at an end"
            raise _wrong(f"has {said} in its key", field, "rename the object")


def _wrong(what: str, field: str, hint: str = "") -> UsageError:
    return UsageError(Code.FIELD_VALUE, f"the name {what}", hint=hint, field=field or None)
