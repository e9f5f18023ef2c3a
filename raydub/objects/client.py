"""obstore's clients, made from environment variables, and the retries that both kinds need."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from raydub.errors import Code, DependencyError, RaydubError
from raydub.objects import errors
from raydub.objects.counted import count
from raydub.objects.errors import Failure, Outcome
from raydub.objects.names import ObjectName

ATTEMPTS = 10
"""Most attempts of a request."""
SECONDS = 120.0
"""No attempt begins later than this after the first."""
PAUSE = 0.1
LONGEST_PAUSE = 15.0
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
"""Seconds without a byte after which a request counts as failed."""
REQUEST_TIMEOUT = 300.0

T = TypeVar("T")


class Unfinished(Exception):
    """A request that ended in ABSENT, CONFLICT or BEYOND. uncertain: an earlier attempt may have been carried out."""

    def __init__(self, failure: Failure, uncertain: bool) -> None:
        super().__init__(failure.outcome.value)
        self.failure = failure
        self.uncertain = uncertain


def endpoint(scheme: str) -> str:
    """The operator's endpoint for a scheme, "" for the provider's own."""
    if scheme == "s3":
        return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return os.environ.get("GOOGLE_BASE_URL") or ""


def make(name: ObjectName, *, retries: bool) -> Any:
    """A client of one bucket. retries: the client repeats requests by itself, which conditional writes must not: the
    second attempt conflicts with the first.

    Raises DependencyError CREDENTIALS if the variables contradict each other or name files that cannot be used."""
    from obstore.exceptions import BaseError
    from obstore.store import GCSStore, S3Store

    where = endpoint(name.scheme)
    options: dict[str, Any] = {
        "client_options": {
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT),
            "read_timeout": timedelta(seconds=READ_TIMEOUT),
            "timeout": timedelta(seconds=REQUEST_TIMEOUT),
            "allow_http": where.lower().startswith("http://"),
        },
        "retry_config": {
            "max_retries": ATTEMPTS - 1 if retries else 0,
            "retry_timeout": timedelta(seconds=SECONDS),
            "backoff": {
                "init_backoff": timedelta(seconds=PAUSE),
                "max_backoff": timedelta(seconds=LONGEST_PAUSE),
                "base": 2,
            },
        },
    }
    try:
        if name.scheme == "gs":
            return GCSStore(name.bucket, **options)
        # Bulk requests hide refusals of single objects, and not every store has them.
        config: Any = {"disable_bulk_delete": True} | ({"endpoint": where} if where else {})
        return S3Store(name.bucket, config=config, **options)
    except (BaseError, ValueError, OSError):
        pass
    variables = "AWS_*" if name.scheme == "s3" else "GOOGLE_*"
    message = f"the environment variables {variables} do not make a client for {name.scheme}://{name.bucket}"
    raise DependencyError(
        Code.CREDENTIALS, message, hint="see docs/objects.md for the variables, and check their files"
    )


def persist(work: Callable[[], T], name: str, doing: str) -> T:
    """The result of `work`, tried until it succeeds, fails for good or the bound is reached, with growing random
    pauses. Raises Unfinished, or the error of raydub.objects.errors.raised()."""
    from obstore.exceptions import BaseError

    began = time.monotonic()
    uncertain = False
    for attempt in range(1, ATTEMPTS + 1):
        count(requests=1)
        try:
            return work()
        except RaydubError:
            raise
        except (BaseError, OSError, ValueError, errors.BrokenOff, errors.NotTheProtocol) as error:
            failure = errors.read(error)
        if failure.outcome in (Outcome.ABSENT, Outcome.CONFLICT, Outcome.BEYOND):
            raise Unfinished(failure, uncertain)
        late = time.monotonic() - began > SECONDS
        if failure.outcome is Outcome.HOPELESS or late or attempt == ATTEMPTS:
            break
        uncertain = uncertain or failure.outcome is Outcome.BROKEN
        count(retries=1)
        time.sleep(random.uniform(0.5, 1.0) * min(PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE))
    raise errors.raised(failure, name, doing, attempt)
