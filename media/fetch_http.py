"""One question to a web server, and its answer as a stream: the connection goes to a judged address, redirects are
followed by hand, nothing is decompressed, no proxy and no cookie is known.

The standard library's http.client does nothing of this kind by itself, which is why it is used: a proxy, for one, would
resolve the name a second time, out of our sight.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from raydub import __version__
from raydub.errors import Code, InputError
from raydub.media.fetch_address import resolve
from raydub.media.fetch_policy import FetchPolicy
from raydub.media.fetch_uri import Uri, follow

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE = 1 << 18
_MOST_ADDRESSES = 4
_HEADERS = {
    "User-Agent": f"raydub/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class Trouble(Exception):
    """A question that failed in a way that may pass. wait: seconds that the server asked for, None where it did not."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Reply:
    """A server's answer. uri: who gave it in the end; headers: names in lower case; pieces: the body, as it comes;
    raises Trouble where it breaks off or gets stuck."""

    uri: Uri
    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


@contextmanager
def ask(uri: Uri, headers: Mapping[str, str], policy: FetchPolicy, deadline: float) -> Iterator[Reply]:
    """GET `uri`. deadline: a time.monotonic() after which the connection is cut.

    Raises Trouble for what may pass, InputError URI_DENIED and URI_SCHEME for where it leads, FETCH_FAILED for what
    will stay: an unknown name, a certificate that is not good, redirects without end."""
    for _ in range(policy.redirects + 1):
        connection = _Connection(uri, policy)
        try:
            with connection.cut_at(min(deadline, time.monotonic() + policy.connect_seconds + policy.idle_seconds)):
                response = _ask_once(connection, uri, headers)
            said = {name.lower(): value for name, value in response.getheaders()}
            if response.status not in _REDIRECTS or "location" not in said:
                with connection.cut_at(deadline), closing(response):
                    yield Reply(uri, response.status, said, _pieces(response, uri, policy, deadline))
                return
            response.close()
        finally:
            connection.hang_up()
        uri = follow(uri, said["location"], policy)
    raise InputError(Code.FETCH_FAILED, f"{uri.host} redirects more than {policy.redirects} times")


def _ask_once(connection: _Connection, uri: Uri, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    try:
        connection.request("GET", uri.target, headers={**_HEADERS, **headers, "Host": uri.authority})
        return connection.getresponse()
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise Trouble(f"the name {uri.host} does not resolve now") from error
        hint = "check the address, and name servers on every node"
        raise InputError(Code.FETCH_FAILED, f"the name {uri.host} does not resolve", hint=hint) from error
    except ssl.SSLCertVerificationError as error:
        raise InputError(
            Code.FETCH_FAILED,
            f"the certificate of {uri.host} is not good: {error.verify_message}",
            hint="SSL_CERT_FILE names certificates of your own",
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise Trouble(f"{uri.host}: {_reason(error)}") from error


def _pieces(response: http.client.HTTPResponse, uri: Uri, policy: FetchPolicy, deadline: float) -> Iterator[bytes]:
    """The body; checked against Content-Length, and for getting on at all."""
    expected, got = response.length, 0
    since, then = time.monotonic(), 0
    # Older releases of http.client do not count here, and would wait for more than was promised.
    while expected is None or got < expected:
        try:
            piece = response.read1(_PIECE)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Trouble(f"{uri.host} broke off after {got} bytes: {_reason(error)}") from error
        now = time.monotonic()
        got += len(piece)
        if piece:
            yield piece
        elif now >= deadline:
            raise Trouble(f"{uri.host} took too long ({got} bytes came)")
        elif expected is not None:
            raise Trouble(f"{uri.host} broke off after {got} of {expected} bytes")
        elif got == 0 and not response.chunked:
            # http.client takes headers that break off for whole ones, and then nothing follows.
            raise Trouble(f"{uri.host} broke off before the first byte")
        else:
            return
        if now - since >= policy.idle_seconds:
            if got - then < policy.least_rate * (now - since):
                raise Trouble(f"{uri.host} sends less than {policy.least_rate} bytes a second")
            since, then = now, got


class _Connection(http.client.HTTPConnection):
    """To one judged address of a host. The name is resolved here and nowhere else."""

    def __init__(self, uri: Uri, policy: FetchPolicy) -> None:
        super().__init__(uri.host, uri.port, timeout=policy.connect_seconds)
        self._uri, self._policy = uri, policy
        self._wire: socket.socket | None = None
        self._over = False

    def connect(self) -> None:
        """Resolve, judge, connect, and for https agree on keys with the server that has a certificate for the name."""
        addresses = resolve(self._uri.host, self._uri.port, self._policy.allow_private)[:_MOST_ADDRESSES]
        for number, address in enumerate(addresses):
            try:
                wire = dial(address, self._uri.port, self._policy.connect_seconds)
                break
            except OSError:
                if number + 1 == len(addresses):
                    raise
        self._wire = wire
        if self._over:
            raise TimeoutError("connecting took too long")
        if self._uri.scheme == "https":
            # Shaking hands is a step of its own so that a deadline can cut it.
            self._wire = _trust().wrap_socket(
                wire, server_hostname=self._uri.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            self._wire.do_handshake()
        self._wire.settimeout(self._policy.idle_seconds)
        self.sock = self._wire

    @contextmanager
    def cut_at(self, deadline: float) -> Iterator[None]:
        """Cut the wire at `deadline` (time.monotonic()): timeouts of sockets start anew with every byte."""
        timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        self._over = True
        wire = self._wire
        if wire is not None:
            with suppress(OSError):
                # Not SSLSocket's own shutdown, which takes the keys from under a reader.
                socket.socket.shutdown(wire, socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """Close for good. close() is http.client's own, which calls it before the body is read."""
        self._cut()
        self.close()
        if self._wire is not None:
            self._wire.close()


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """A connection to an address given in numbers; no name is looked up."""
    wire = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        wire.settimeout(seconds)
        wire.connect((address, port))
    except BaseException:
        wire.close()
        raise
    return wire


def _trust() -> ssl.SSLContext:
    """Certificates of the system (SSL_CERT_FILE and SSL_CERT_DIR choose others); certifi's where it has none."""
    context = ssl.create_default_context()
    places = ssl.get_default_verify_paths()
    if places.cafile is None and places.capath is None:
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def _reason(error: BaseException) -> str:
    """What happened, in words that hold nothing of the address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
