"""`raydub ui`: the page for people who do not live in a terminal."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from raydub.cluster.output import command, say, warn
from raydub.errors import Code, UsageError

_SHORTEST_TOKEN = 16


@command
def ui(
    folder: Annotated[Path, typer.Option("--folder", help="Folder for uploads, runs and results of all users.")] = Path(
        "raydub-ui"
    ),
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than this machine's own need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8501,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            help="Token that the address must have; default: RAYDUB_UI_TOKEN, or a new one if --host is not this "
            "machine's own address.",
        ),
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="A folder whose videos and speech everybody may choose from.")
    ] = None,
    max_upload_mb: Annotated[int, typer.Option("--max-upload-mb", min=1, max=4000, help="Largest upload.")] = 500,
    runs_at_once: Annotated[int, typer.Option("--runs-at-once", min=1, help="Further runs wait.")] = 1,
    use_ray: Annotated[bool, typer.Option("--ray/--no-ray", help="Work on a local Ray.")] = False,
    address: Annotated[
        str | None, typer.Option("--address", help="Work on this Ray cluster, whose nodes see the folder at its path.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="As in `run`.")] = None,
    device: Annotated[str, typer.Option("--device", help="As in `run`: auto, cpu or cuda.")] = "auto",
) -> int:
    """Serve a page for dubbing in a browser: choose video and speech, pick who speaks, watch, compare, download. It
    listens on this machine only, unless --host says otherwise. Ctrl-C ends it, and its runs; they can be continued."""
    from raydub.cluster.limits import DEVICES
    from raydub.cluster.ui.serve import alone, app_of, bind, serve
    from raydub.cluster.ui.settings import UiSettings, is_loopback

    if device not in DEVICES:
        raise UsageError(Code.FIELD_VALUE, f"{device!r} is not one of {', '.join(DEVICES)}", field="device")
    if media is not None and not media.is_dir():
        raise UsageError(Code.INPUT_MISSING, f"--media {media} is not a folder", field="media")
    secret = token if token is not None else os.environ.get("RAYDUB_UI_TOKEN", "")
    if not secret and not is_loopback(host):
        secret = secrets.token_urlsafe(24)
    if secret and len(secret) < _SHORTEST_TOKEN:
        hint = f"at least {_SHORTEST_TOKEN} characters; without --token a good one is made"
        raise UsageError(Code.FIELD_VALUE, "the token is too short to keep anybody out", field="token", hint=hint)
    folder = folder.absolute()
    with alone(folder), bind(host, port) as listener:
        settings = UiSettings(
            folder,
            host,
            listener.getsockname()[1],
            secret,
            media.absolute() if media is not None else None,
            max_upload_mb,
            runs_at_once,
            use_ray,
            address,
            workers,
            device,
        )
        app = app_of(settings)
        if settings.is_open:
            warn("others can reach this page: whoever has the address with its token may use this machine for dubbing,")
            warn("and the connection is not encrypted; put a proxy with TLS before it")
        shown = "localhost" if is_loopback(host) else f"[{host}]" if ":" in host else host
        say(f"http://{shown}:{settings.port}/{f'?token={secret}' if secret else ''}")
        serve(app, settings, listener)
    return 0
