"""What a request to an object store came to, read from the client's exceptions.

Texts of the client are never passed on: a store repeats keys and what was signed in its answers, and addresses of token
services contain tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from raydub.errors import Code, DependencyError, InputError, RaydubError, StageError
from raydub.objects.names import KEY_BYTES


class Conflict(Exception):
    """The object exists although it was to be created, or is no longer the one that was to be replaced."""


class Outcome(Enum):
    """What can be done about a failed request."""

    ABSENT = "no such object"
    CONFLICT = "a precondition does not hold"
    BEYOND = "the range begins behind the end"
    BUSY = "refused for now: nothing was done"
    BROKEN = "failed for now: it may have been done"
    HOPELESS = "fails each time"


@dataclass(frozen=True)
class Failure:
    """A failed request. status: of HTTP, 0 without an answer; code: the store's own, "" if it sent none."""

    outcome: Outcome
    status: int = 0
    code: str = ""
    reason: str = ""


class BrokenOff(Exception):
    """The body ended early, although nothing failed."""


class NotTheProtocol(Exception):
    """An answer that no object store gives."""


_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_TOKENS = re.compile(
    r"/latest/(api/token|meta-data)|computeMetadata|169\.254\.\d|metadata\.google|AssumeRole|token request"
    r"|TokenRequest|oauth2|InstanceCredentials|CredentialProvider|credentials? file|refresh token",
    re.IGNORECASE,
)
_HTML = re.compile(r"<!doctype html|<html", re.IGNORECASE)
_REFUSED = frozenset(
    {
        "AuthFailure",
        "AuthenticationRequired",
        "CredentialsNotSupported",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidToken",
        "MissingSecurityHeader",
        "NotSignedUp",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnauthorizedAccess",
    }
)
_REGION = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_AGAIN = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_NO_CREDENTIALS = "no credentials"
_ODD_NAME = "an object there has an empty step, '.' or '..' in its key, or control characters"


def read(error: BaseException) -> Failure:
    """The failure behind an exception of obstore, or behind BrokenOff and NotTheProtocol."""
    if isinstance(error, BrokenOff):
        return Failure(Outcome.BROKEN, reason="the body ended early")
    if isinstance(error, NotTheProtocol):
        return Failure(Outcome.HOPELESS, reason=str(error))
    text = str(error)
    kind = type(error).__name__
    if kind == "InvalidPathError":
        return Failure(Outcome.HOPELESS, reason=_ODD_NAME)
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    found = _CODE.search(text)
    code = found[1] if found else ""
    # The request that failed is in the first sentence; later ones may quote anything.
    if _TOKENS.search(text.partition(" - ")[0]):
        outcome = Outcome.HOPELESS if 400 <= status < 500 and status != 429 else Outcome.BUSY
        return Failure(outcome, status, code, _NO_CREDENTIALS)
    if _HTML.search(text) and status < 500:
        return Failure(Outcome.HOPELESS, status, code, "a web page answers there")
    if code in _AGAIN or status == 429 or code == "SlowDown":
        return Failure(Outcome.BUSY, status, code)
    if status == 0 and kind == "GenericError":
        return Failure(*_without_status(text))
    if status >= 500 or status == 408 or code in ("RequestTimeout", "InternalError"):
        return Failure(Outcome.BROKEN, status, code)
    if code == "NoSuchBucket" or code in _REFUSED or code in _REGION:
        return Failure(Outcome.HOPELESS, status, code)
    if kind in ("AlreadyExistsError", "PreconditionError", "NotModifiedError"):
        return Failure(Outcome.CONFLICT, status, code)
    if code == "NoSuchUpload":
        return Failure(Outcome.BROKEN, status, code)
    if isinstance(error, FileNotFoundError) or status == 404:
        return Failure(Outcome.ABSENT, status, code)
    if status == 416:
        return Failure(Outcome.BEYOND, status, code)
    return Failure(Outcome.HOPELESS, status, code)


def raised(failure: Failure, name: str, doing: str, tried: int = 1) -> RaydubError:
    """The error for a failure. name: of the object; doing: such as "read" or "write"; tried: how often."""
    status, code = failure.status, failure.code
    said = ", ".join(filter(None, (f"HTTP {status}" if status else "", code, failure.reason))) or "no reason given"
    store = name.partition("://")[0]
    if code == "NoSuchBucket":
        hint = f"check the name, and {_endpoint(store)} on every node"
        return DependencyError(Code.BUCKET_MISSING, f"cannot {doing} {name}: the bucket does not exist", hint=hint)
    if failure.reason == _NO_CREDENTIALS:
        message = f"cannot {doing} {name}: no credentials, and the token service of this machine gives none ({said})"
        return DependencyError(Code.CREDENTIALS, message, hint=_credentials(store))
    if failure.reason == _ODD_NAME:
        return StageError(Code.STORAGE, f"cannot {doing} {name}: {said}", hint="remove or rename that object")
    if code in _REFUSED or status == 401:
        hint = _credentials(store)
        if code == "RequestTimeTooSkewed":
            hint = "set this machine's clock"
        message = f"cannot {doing} {name}: the store refuses the credentials ({said})"
        return DependencyError(Code.CREDENTIALS, message, hint=hint)
    if code in _REGION or 300 <= status < 400:
        message = f"cannot {doing} {name}: the bucket is in another region or at another endpoint ({said})"
        return DependencyError(Code.STORE_PROTOCOL, message, hint=f"set AWS_REGION and {_endpoint(store)}")
    if failure.reason and failure.outcome is Outcome.HOPELESS:
        message = f"cannot {doing} {name}: what answers is not an object store ({said})"
        return DependencyError(Code.STORE_PROTOCOL, message, hint=f"check {_endpoint(store)}")
    if code == "InvalidObjectState":
        message = f"cannot {doing} {name}: it is in an archive ({said})"
        return InputError(Code.INPUT_UNREADABLE, message, hint="restore it to the bucket first, or copy it elsewhere")
    if code.startswith("KeyTooLong"):
        message = f"cannot {doing} {name}: keys are limited to {KEY_BYTES} bytes, and raydub adds some to a folder's"
        return StageError(Code.STORAGE, message, hint="choose folders with shorter names")
    if status in (403, 405):
        message = f"cannot {doing} {name}: the store does not allow it ({said})"
        hint = (
            f"allow this role or key to {doing} objects of the bucket, and to list it: otherwise absent ones give 403"
        )
        return DependencyError(Code.STORE_DENIED, message, hint=hint)
    if failure.outcome is Outcome.ABSENT:
        return InputError(Code.INPUT_MISSING, f"{name} does not exist", hint="check the address")
    if failure.outcome is Outcome.HOPELESS:
        return StageError(Code.STORAGE, f"cannot {doing} {name}: {said}", hint=f"check {_endpoint(store)}")
    message = f"cannot {doing} {name}: {said}, after {tried} attempts"
    return StageError(Code.STORAGE, message, hint="run again when the store answers", retryable=True)


def missing_bucket(failure: Failure) -> Failure:
    """What a 404 to a write means, where only the bucket can be missing."""
    return Failure(Outcome.HOPELESS, failure.status, "NoSuchBucket")


def changed(name: str) -> InputError:
    """The error for an object that is another one than before, or gone."""
    message = f"{name} changed while it was used"
    return InputError(Code.INPUT_CHANGED, message, hint="run again when the object no longer changes")


def _without_status(text: str) -> tuple[Outcome, int, str, str]:
    low = text.lower()
    if "redirect without location" in low:
        return Outcome.HOPELESS, 301, "", ""
    if "certificate" in low:
        return Outcome.HOPELESS, 0, "", "its TLS certificate is not trusted"
    if "invalidcontenttype" in low or "corruptmessage" in low or "parse(" in low or "invalid http version" in low:
        return Outcome.HOPELESS, 0, "", "it does not speak the protocol"
    if "timedout" in low or "kind: timeout" in low:
        return Outcome.BROKEN, 0, "", "no answer in time"
    if "dns error" in low or "failed to lookup" in low:
        return Outcome.BUSY, 0, "", "the endpoint's host is unknown"
    if "kind: connect," in low or "connection refused" in low:
        return Outcome.BUSY, 0, "", "the endpoint cannot be reached"
    if "httperror" in low or "error sending request" in low or "body error" in low or "content-range" in low:
        return Outcome.BROKEN, 0, "", "the connection broke off"
    return Outcome.HOPELESS, 0, "", "an answer without the headers or the form of one"


def _endpoint(store: str) -> str:
    return "AWS_ENDPOINT_URL" if store == "s3" else "GOOGLE_BASE_URL"


def _credentials(store: str) -> str:
    if store == "s3":
        return (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for temporary ones) on every node, "
            "or give the machines a role; profiles in ~/.aws are not read"
        )
    return "set GOOGLE_APPLICATION_CREDENTIALS on every node, or give the machines a service account"
