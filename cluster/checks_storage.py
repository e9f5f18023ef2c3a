"""The checks of `raydub doctor` that concern buckets, and the cache of their objects."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from raydub.cluster.found import Check
from raydub.errors import Code, RaydubError
from raydub.objects import client
from raydub.objects.bucket import Bucket, bucket_of
from raydub.objects.errors import Conflict
from raydub.objects.names import SCHEMES, ObjectName, parse
from raydub.objects.room import SPARE, cache_root, cache_use

_SETTINGS = {
    "s3": (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ACCESS_KEY_ID",
        "AWS_SKIP_SIGNATURE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "gs": (
        "GOOGLE_BASE_URL",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_BEARER_TOKEN",
        "GOOGLE_SKIP_SIGNATURE",
    ),
}
"""Variables of which one is set where somebody means to use buckets."""
_SKEWED = 60.0
_LITTLE = 1_000_000_000
_TRIES = 2


def storage_checks(bucket: str | None) -> list[tuple[str, Callable[[], Check]]]:
    """The checks by name. bucket: the address to check, None to see what the environment says."""
    if bucket is not None:
        return [("bucket", _hurried()(lambda: _bucket(bucket))), ("cache", _cache)]
    schemes = [scheme for scheme in SCHEMES if any(os.environ.get(name) for name in _SETTINGS[scheme])]
    if not schemes:
        return [("buckets", _none)]
    return [*((f"{scheme}://", lambda scheme=scheme: _endpoint(scheme)) for scheme in schemes), ("cache", _cache)]


@contextmanager
def _hurried() -> Iterator[None]:
    """Fewer attempts than runs make: somebody waits, and nothing is lost by giving up."""
    before, client.ATTEMPTS = client.ATTEMPTS, _TRIES
    try:
        yield
    finally:
        client.ATTEMPTS = before


def _none() -> Check:
    hint = "docs/objects.md lists them; doctor --bucket s3://NAME tries a bucket with the role of this machine"
    return Check("buckets", "ok", "no settings for s3:// or gs:// in the environment", hint)


def _host(scheme: str) -> str:
    """Where the environment sends requests, without anything secret in the address."""
    said = urlsplit(client.endpoint(scheme))
    port = f":{said.port}" if said.port else ""
    return f"{said.scheme}://{said.hostname}{port}" if said.hostname else {"s3": "Amazon", "gs": "Google"}[scheme]


def _endpoint(scheme: str) -> Check:
    """Asks for a bucket that does not exist: that it does not is the answer of a store that takes the credentials."""
    nobodys = ObjectName(scheme, f"raydub-doctor-{uuid.uuid4().hex[:12]}", "")
    try:
        with _hurried():
            bucket_of(nobodys).get("nothing")
    except RaydubError as error:
        if error.code not in (Code.BUCKET_MISSING, Code.STORE_DENIED):
            return Check(f"{scheme}://", "note", f"{_host(scheme)}: {error.message}", error.hint)
    found = f"{_host(scheme)} answers, and takes the credentials"
    return Check(f"{scheme}://", "ok", found, f"doctor --bucket {scheme}://NAME also tries to write")


def _bucket(address: str) -> Check:
    name = parse(address, "--bucket", folder=True)
    bucket, folder = bucket_of(name), f"{name.key}/" if name.key else ""
    key = f"{folder}.raydub-doctor-{uuid.uuid4().hex[:12]}"
    next(bucket.names(key), None)
    try:
        first = bucket.put(key, b"1", create=True)
        ignored = ["create-only"] if _writes(bucket, key, create=True) else []
        first = bucket.put(key, b"2") if ignored else first
        bucket.put(key, b"3", etag=first.etag)
        ignored += ["replace-only"] if _writes(bucket, key, etag=first.etag) else []
        seen = bucket.head(key)
    finally:
        bucket.delete(key)
    where = f"{name.text} at {_host(name.scheme)}"
    if ignored:
        found = f"{where} ignores the conditions of {' and '.join(ignored)} writes"
        return Check("bucket", "missing", found, "two runs could write one output: use another store for outputs")
    found = f"{where} can be listed, read and written, and honours create-only and replace-only writes"
    skew = 0.0 if seen is None else time.time() - seen.modified
    if abs(skew) > _SKEWED:
        hint = "set the clock: stores refuse requests that are 15 minutes off"
        return Check("bucket", "note", f"{found}; its clock and this one differ by {abs(skew):.0f} s", hint)
    return Check("bucket", "ok", found)


def _writes(bucket: Bucket, key: str, *, create: bool = False, etag: str = "") -> bool:
    """Whether a write is done although its condition does not hold."""
    try:
        bucket.put(key, uuid.uuid4().bytes, create=create, etag=etag)
    except Conflict:
        return False
    return True


def _cache() -> Check:
    root = cache_root()
    taken, most = cache_use()
    free = shutil.disk_usage(root).free
    room = min(most, taken + max(0, free - SPARE))
    found = f"{root}: {taken / 1e9:.1f} of {most / 1e9:.1f} GB used, {free / 1e9:.1f} GB free on its disk"
    if room < _LITTLE:
        return Check("cache", "note", found, "raise RAYDUB_CACHE_GB, or set RAYDUB_CACHE_DIR to a larger disk")
    return Check("cache", "ok", found)
