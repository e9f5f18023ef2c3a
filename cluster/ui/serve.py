"""Serves the page: streamlit's app behind the gate, in this process."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raydub.cluster.ui.desk import open_desk
from raydub.cluster.ui.files import routes
from raydub.cluster.ui.gate import Gate
from raydub.cluster.ui.settings import UiSettings, use
from raydub.errors import Code, DependencyError, UsageError

PAGE = Path(__file__).with_name("page.py")
_GRACE = 3
_MOST_CONNECTIONS = 400
"""Fewer than a process may usually have files open."""
_LOCK = "ui.lock"


def options_of(settings: UiSettings) -> dict[str, Any]:
    """Streamlit's options. Nothing is sent anywhere, nothing is watched, and errors show no source."""
    return {
        "server.address": settings.host,
        "server.port": settings.port,
        "server.headless": True,
        "server.maxUploadSize": settings.max_upload_mb,
        "server.enableXsrfProtection": True,
        "server.enableCORS": True,
        "server.enableStaticServing": False,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showSidebarNavigation": False,
        "global.developmentMode": False,
        # In the dark too: white words on it have a contrast of 5.5, itself 3.4 on the dark ground.
        "theme.primaryColor": "#0f766e",
        "theme.light.primaryColor": "#0f766e",
        "theme.dark.primaryColor": "#0f766e",
        "theme.baseRadius": "0.6rem",
    }


def app_of(settings: UiSettings) -> Any:
    """The ASGI application. Raises DependencyError DEPENDENCY_MISSING without streamlit."""
    # Streamlit reads these before its options can be set here.
    os.environ["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] = "false"
    try:
        from streamlit import config
        from streamlit.starlette import App
    except ImportError as error:
        hint = 'pip install "raydub[ui]"'
        raise DependencyError(Code.DEPENDENCY_MISSING, f"the page needs streamlit: {error}", hint=hint) from error
    use(settings)
    config.get_config_options(force_reparse=True, options_from_flags={})
    for name, value in options_of(settings).items():
        config.set_option(name, value)
    open_desk(settings)
    return Gate(App(str(PAGE), routes=routes(settings)), settings)


def serve(app: Any, settings: UiSettings, listener: socket.socket) -> None:
    """Serve until a signal. app: of app_of(); listener: a bound socket."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            http="h11",  # with a bound on the size of a request's headers
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE,
            ws_max_size=64 << 20,
            lifespan="on",
        )
    )
    try:
        server.run(sockets=[listener])
    finally:
        open_desk(settings).close()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it for this process: two pages would both start the runs that wait in it. Raises
    UsageError FIELD_VALUE."""
    hint = "choose another --folder"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("ab")
    except OSError as error:
        message = f"--folder {folder} cannot be used: {error.strerror or error}"
        raise UsageError(Code.FIELD_VALUE, message, hint=hint, field="folder") from error
    with lock:  # the system gives it back, however this process ends
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another `raydub ui` works in {folder}"
            raise UsageError(Code.FIELD_VALUE, message, hint=hint, field="folder") from error
        except OSError:  # a file system without locks
            pass
        yield


def bind(host: str, port: int) -> socket.socket:
    """A socket to listen on; port 0 takes a free one. Raises UsageError FIELD_VALUE."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # whoever is told the address may connect at once
    except OSError as error:
        hint = "choose another --port or --host"
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise UsageError(Code.FIELD_VALUE, message, hint=hint, field="port") from error
    return listener
