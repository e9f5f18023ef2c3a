"""Strict parsing of web addresses: one host, no user name. What is checked is exactly what is requested.

Lenient parsers disagree about malformed addresses, and the disagreement can hide another host. Malformed addresses are
therefore refused, except for spaces and non-ASCII letters in the path, which are unambiguous. Queries of signed links
are secrets: messages use only `shown` and `redact`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from raydub.errors import Code, InputError
from raydub.media.fetch_address import check_literal
from raydub.media.fetch_policy import KNOWN_SCHEMES, FetchPolicy, store_hint
from raydub.objects.names import is_object

_PORTS = {"https": 443, "http": 80}
_MAX_URI, _SHOWN = 8000, 200
_PARTS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$", re.DOTALL)
_SECRET = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:/*)(?:[^/?#]*@)?([^?#]*)", re.DOTALL)
_SIGNED = re.compile(r"\?.*(x-amz-|signature|token|secret|access_?key|password)", re.IGNORECASE | re.DOTALL)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_KEEP = "%/:=&?~+!$,;'@()*[]"
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


@dataclass(frozen=True)
class Uri:
    """An http or https address. host: lower case, without brackets; target: path and query as they go to the server."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and, where it is not the usual one, port, as in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """For messages: without the query."""
        text = f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"
        return text if len(text) <= _SHOWN else text[:_SHOWN] + ".."

    @property
    def key(self) -> str:
        """A name for the cache: a hash of all that the server sees."""
        return hashlib.sha256(f"{self.scheme}://{self.authority}{self.target}".encode()).hexdigest()[:40]

    @property
    def suffix(self) -> str:
        """The extension of the path where it looks like one, else ""."""
        suffix = os.path.splitext(self.target.partition("?")[0])[1].lower()
        return suffix if _SUFFIX.fullmatch(suffix) else ""


def parse_uri(text: str, policy: FetchPolicy) -> Uri:
    """Parse an address and check it without network access.

    Raises InputError: URI_SCHEME (not allowed by the policy), URI_DENIED (a private address, or one in an unusual
    spelling), FIELD_VALUE (not a web address, or one with a user name).
    """
    found = _PARTS.match(text)
    if found is None:
        raise _wrong(text, "is not a web address")
    scheme, authority, path, query = found[1].lower(), found[2], found[3], found[4] or ""
    check_scheme(scheme, policy)
    if len(text) > _MAX_URI:
        raise _wrong(text, f"is longer than {_MAX_URI} characters")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\\\u2028\u2029" for c in text):
        raise _wrong(text, "contains a control character or a backslash")
    try:
        target = quote((path or "/") + query, safe=_KEEP)
    except UnicodeEncodeError:
        raise _wrong(text, "contains text that cannot be encoded as UTF-8") from None
    if "@" in authority:
        raise _wrong(text, "contains a user name or password", "use a signed link; secrets do not belong in manifests")
    host, port = _host_and_port(text, authority, _PORTS[scheme])
    check_literal(host, policy.allow_private)
    return Uri(scheme, host, port, target)


def check_scheme(scheme: str, policy: FetchPolicy) -> None:
    """Raises InputError URI_SCHEME where the policy does not allow `scheme`."""
    if scheme in policy.schemes:
        return
    if scheme in KNOWN_SCHEMES:
        hint = f"--allow-scheme {scheme} allows it" if policy.schemes else "fetching is disabled for this run"
        raise InputError(Code.URI_SCHEME, f"{scheme}:// is not allowed", hint=hint)
    raise InputError(Code.URI_SCHEME, f"{scheme[:40]}:// is not fetched", hint=store_hint(scheme))


def follow(uri: Uri, location: str, policy: FetchPolicy) -> Uri:
    """The target of a redirect. Raises InputError URI_SCHEME, URI_DENIED (also for https to http) and FETCH_FAILED (an
    invalid address)."""
    if any(ord(c) < 32 or c == "\\" for c in location):
        raise InputError(Code.URI_DENIED, f"{uri.host} redirects to an address with control characters")
    try:
        goal = urljoin(f"{uri.scheme}://{uri.authority}{uri.target}", location.strip(" "))
    except ValueError:
        raise InputError(Code.URI_DENIED, f"{uri.host} redirects to an invalid address") from None
    scheme = goal.partition(":")[0].lower()
    if uri.scheme == "https" and scheme == "http":
        raise InputError(Code.URI_DENIED, f"{uri.host} redirects from https to http", hint="ask the server's owner")
    try:
        return parse_uri(goal, policy)
    except InputError as error:
        code = Code.FETCH_FAILED if error.code is Code.FIELD_VALUE else error.code
        raise InputError(code, f"{uri.host} redirects: {error.message}", hint=error.hint) from None


def redact(text: str) -> str:
    """A path or address for messages and results: nothing of an address's user, password, query or fragment. In the key
    of an object a question mark is a letter like any other, unless what follows was signed, or an account stands before
    its bucket."""
    named = is_object(text) and _SIGNED.search(text) is None and "@" not in text[5:].partition("/")[0]
    plain = named or "://" not in text
    found = None if plain else _SECRET.match(text)
    if found is None or found.end() == len(text) == len(found[1]) + len(found[2]):
        return text
    return found[1] + found[2] + ("?.." if found.end() < len(text) else "")


def _host_and_port(text: str, authority: str, usual: int) -> tuple[str, int]:
    bracket = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?", authority)
    plain = re.fullmatch(r"([^:\[\]]+)(?::([0-9]{1,5}))?", authority)
    found = bracket or plain
    if found is None:
        raise _wrong(text, "has no host, or more than one")
    port = int(found[2]) if found[2] else usual
    if not 0 < port < 65536:
        raise _wrong(text, "has an invalid port")
    host = found[1].lower()
    if not host.isascii():
        raise _wrong(text, "has a host with non-ASCII characters", "write the name in its xn-- form")
    if bracket:
        try:
            return str(ipaddress.IPv6Address(host)), port
        except ValueError:
            raise _wrong(text, "has an invalid IPv6 address") from None
    host = host.removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 2130706433, 0x7f000001, 0177.0.0.1: resolvers accept them as addresses, strict parsers do not.
        try:
            return str(ipaddress.IPv4Address(host)), port
        except ValueError:
            raise InputError(
                Code.URI_DENIED,
                f"{host[:80]} is an unusual spelling of an address",
                hint="write four decimal numbers",
            ) from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _wrong(text, "has an invalid host name")
    return host, port


def _wrong(text: str, what: str, hint: str = "") -> InputError:
    shown = re.split(r"[?#]", redact(text))[0][:_SHOWN]
    return InputError(Code.FIELD_VALUE, f"the address {shown!r} {what}", hint=hint)
