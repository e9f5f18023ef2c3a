"""What stands before the page: who may reach it at all, and who is who. An ASGI middleware around everything that the
page serves, its websocket and streamlit's own endpoints (uploads, media, health) too.

With a token nothing is served without it but a refusal. The first request has it in the URL; the answer puts a hash of
it into a cookie and leads to the same address without it, so that it is in no history, log or referrer of later
requests. Without a token, on loopback, only requests for this machine's own names are answered, because a page of
another site may have its name resolved to 127.0.0.1.

Websockets and requests that change something are answered only for the page itself (Origin is Host): to a browser,
another port of this machine is the same site, and it sends the cookies along.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from raydub.cluster.ui.rooms import check_room, is_secret, new_secret
from raydub.cluster.ui.settings import LOOPBACK_NAMES, UiSettings, is_loopback
from raydub.cluster.ui.uploads import MOST, Uploads, held, in_time
from raydub.errors import StageError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

USER, PASS = "raydub_user", "raydub_pass"
_YEAR = 365 * 24 * 3600
_UPLOAD = "/_stcore/upload_file/"
_HEADERS = (
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
)


class Gate:
    """Wraps an ASGI app."""

    def __init__(self, app: App, settings: UiSettings) -> None:
        self._app, self._settings = app, settings
        self._pass = hashlib.sha256(f"raydub ui {settings.token}".encode()).hexdigest() if settings.token else ""
        self._uploads = Uploads()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        cookies = cookies_of(headers.get("cookie", ""), self._settings.port)
        refusal = self._refusal(scope, headers, cookies)
        if refusal is not None:
            await _answer(scope, send, *refusal)
            return
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if self._settings.token and scope["type"] == "http" and any(name == "token" for name, _ in query):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            place = quote(scope.get("path", "/")) + (f"?{rest}" if rest else "")
            # Never to another site: a path that begins with two slashes names one.
            where = (b"location", f"/{place.lstrip('/')}".encode())
            await _answer(scope, send, 303, "", [where, self._cookie(PASS, self._pass)])
            return
        # A body in chunks has the length that it says at its end, whatever else the request says.
        size = "" if "transfer-encoding" in headers else headers.get("content-length", "")
        user = cookies.get(USER, "")
        if scope["type"] == "http" and scope["method"] == "PUT" and scope["path"].startswith(_UPLOAD):
            await self._upload(scope, receive, send, int(size) if size.isdecimal() else None, user)
            return
        await self._app(scope, receive, self._marked(send, is_secret(user)))

    def _refusal(self, scope: Scope, headers: dict[str, str], cookies: dict[str, str]) -> tuple[int, str] | None:
        """Status and text of the refusal of a request; None if it may pass."""
        changes = scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD", "OPTIONS")
        if changes and not is_own(headers.get("origin"), headers.get("host", "")):
            return 403, "Another page cannot do this."
        if not self._settings.token:
            named = host_of(headers.get("host", ""))
            if is_loopback(self._settings.host) and named not in LOOPBACK_NAMES and not is_loopback(named):
                return 421, "This page answers on this machine only."
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        given = next((value for name, value in query if name == "token"), "")
        # The comparisons take the same time wherever the texts differ.
        by_url = hmac.compare_digest(given.encode(), self._settings.token.encode())
        by_cookie = hmac.compare_digest(cookies.get(PASS, "").encode(), self._pass.encode())
        if (by_url and scope["type"] == "http") or by_cookie:
            return None
        return 403, "This page needs the address with its token, as `raydub ui` printed it."

    async def _upload(self, scope: Scope, receive: Receive, send: Send, size: int | None, user: str) -> None:
        """An upload of streamlit's: with a length, a user, and room for it."""
        if not is_secret(user):
            await _answer(scope, send, 403, "Load the page first.")
            return
        if size is None:
            await _answer(scope, send, 411, "The length of the upload is missing.")
            return
        if size > (self._settings.max_upload_mb << 20) + (1 << 16):
            await _answer(scope, send, 413, f"Larger than {self._settings.max_upload_mb} MB.")
            return
        try:
            check_room(self._settings.folder, size)
        except StageError as error:
            await _answer(scope, send, 507, error.message)
            return
        most = MOST * self._settings.max_upload_mb << 20
        if held() + size > most or not self._uploads.begin(user):
            await _answer(scope, send, 503, "Other uploads are in progress. Try again in a moment.")
            return
        try:
            await self._app(scope, in_time(receive, size), self._marked(send, True))
        finally:
            self._uploads.end(user)

    def _marked(self, send: Send, known: bool) -> Send:
        """A send that adds headers to the answer, and a cookie for a user who has none."""

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = list(_HEADERS)
                # Only the page itself gives a name: its parts are asked for at once, and each would give another one.
                if not known and _is_page(message.get("headers", ())):
                    more.append(self._cookie(USER, new_secret()))
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        return marked

    def _cookie(self, name: str, value: str) -> tuple[bytes, bytes]:
        # Cookies do not know ports: two pages on one machine would take each other's. Lax: a link to the page that
        # somebody follows from elsewhere has it, requests and websockets of other sites have not.
        text = f"{name}_{self._settings.port}={value}; Path=/; Max-Age={_YEAR}; HttpOnly; SameSite=Lax"
        return b"set-cookie", text.encode()


def cookies_of(header: str, port: int) -> dict[str, str]:
    """The cookies that the page on this port has set, by USER and PASS."""
    found: dict[str, str] = {}
    # Not http.cookies: it reads nothing at all beside a value that it does not like, such as JSON of another program on
    # another port of this machine.
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        for wanted in (USER, PASS):
            if name == f"{wanted}_{port}":
                found.setdefault(wanted, value.strip('"'))
    return found


def is_own(origin: str | None, host: str) -> bool:
    """Whether a request comes from the page itself, or from no page."""
    if origin is None:
        return True
    scheme, _, place = origin.lower().partition("://")
    usual = {"http": ":80", "https": ":443"}.get(scheme)
    return usual is not None and place.removesuffix(usual) == host.lower().removesuffix(usual) and place != ""


def host_of(header: str) -> str:
    """The name in a Host header, without the port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if ":" in header else header


def _is_page(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer is the page of streamlit, by any address: others of our pages are not for those without a
    name."""
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in headers)


async def _answer(
    scope: Scope, send: Send, status: int, text: str, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": text[:100]})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *(more or [])]})
    await send({"type": "http.response.body", "body": text.encode()})
