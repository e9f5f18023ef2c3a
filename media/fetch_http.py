"""HTTP client for inputs: connects to checked addresses only, checks every redirect, uses no proxies and no cookies.

One connection of urllib3 per request, without its pools: these would resolve the name a second time and normalise the
path after it was checked.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from raydub.download import Passing, reason
from raydub.errors import Code, InputError
from raydub.media.fetch_address import resolve
from raydub.media.fetch_policy import FetchPolicy
from raydub.media.fetch_uri import Uri, follow
from raydub.trust import trust

_MOST_ADDRESSES = 4
# It would log complete addresses, with the query of a signed link, for malformed headers.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


class JudgedDoor:
    """See raydub.download.Door. Raises InputError URI_DENIED and URI_SCHEME for refused targets, FETCH_FAILED for
    permanent failures: an unknown name, an invalid certificate."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy

    def follow(self, place: Uri, location: str) -> Uri:
        """The checked target of a redirect."""
        return follow(place, location, self._policy)

    @contextmanager
    def open(self, place: Uri, headers: Mapping[str, str], deadline: float) -> Iterator[HTTPResponse]:
        """GET `place` from one of its checked addresses."""
        connection = self._connect(place)
        wire = connection.sock  # the connection hands it over to the response
        with closing(connection):
            # Socket timeouts restart with every byte.
            with _cut_at(wire, min(deadline, time.monotonic() + self._policy.idle_seconds)):
                response = _ask(connection, place, headers)
            with _cut_at(wire, deadline), closing(response):
                yield response

    def _connect(self, uri: Uri) -> HTTPConnection:
        """The first address that answers, and for https a certificate for the name."""
        for address in self._addresses(uri):
            connection = _connection(uri, address, self._policy.connect_seconds)
            try:
                connection.connect()
                connection.timeout = self._policy.idle_seconds
                return connection
            except ssl.SSLCertVerificationError as error:
                connection.close()
                message = f"the certificate of {uri.host} is invalid: {error.verify_message}"
                hint = "set SSL_CERT_FILE to trust certificates of your own"
                raise InputError(Code.FETCH_FAILED, message, hint=hint) from error
            except (OSError, HTTPError) as error:
                connection.close()
                trouble = Passing(f"{uri.host}: {reason(error)}")
        raise trouble

    def _addresses(self, uri: Uri) -> list[str]:
        try:
            return resolve(uri.host, uri.port, self._policy.allow_private)[:_MOST_ADDRESSES]
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise Passing(f"the name {uri.host} does not resolve at the moment") from error
            hint = "check the address, and the name servers of every node"
            raise InputError(Code.FETCH_FAILED, f"the name {uri.host} does not resolve", hint=hint) from error


def _connection(uri: Uri, address: str, seconds: float) -> HTTPConnection:
    if uri.scheme == "https":
        return HTTPSConnection(address, uri.port, timeout=seconds, ssl_context=trust(), server_hostname=uri.host)
    return HTTPConnection(address, uri.port, timeout=seconds)


def _ask(connection: HTTPConnection, uri: Uri, headers: Mapping[str, str]) -> HTTPResponse:
    try:
        said = {**headers, "Host": uri.authority, "Connection": "close"}
        connection.request("GET", uri.target, headers=said, preload_content=False, decode_content=False)
        return connection.getresponse()
    except (OSError, http.client.HTTPException, HTTPError) as error:
        raise Passing(f"{uri.host}: {reason(error)}") from error


@contextmanager
def _cut_at(wire: socket.socket, deadline: float) -> Iterator[None]:
    """Shut the socket down at `deadline` (time.monotonic())."""

    def cut() -> None:
        with suppress(OSError):
            # Not SSLSocket's own shutdown, which takes the keys from under a reader.
            socket.socket.shutdown(wire, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
