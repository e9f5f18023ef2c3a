"""Files of a user for the browser: with ranges, as players ask for them, and from the user's own runs only.

    /raydub/file/<run>/<name>     the output, the source or the speech of a run
    /raydub/report/<run>/<path>   its report

Report pages run their own scripts, and nothing of them may reach this page: they have an origin of their own (sandbox).
Everything else is media or a download.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raydub.cluster.ui.gate import USER, cookies_of
from raydub.cluster.ui.rooms import VIDEO, Room, kind_of
from raydub.cluster.ui.seen import REPORT, RunSeen, see
from raydub.cluster.ui.settings import UiSettings
from raydub.errors import RaydubError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

FILE, PAGES = "/raydub/file", "/raydub/report"
_NO_SCRIPT = "default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'; sandbox"
_SANDBOX = (
    "default-src 'none'; script-src 'unsafe-inline' 'self'; style-src 'unsafe-inline' 'self'; "
    "img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; font-src 'self' data:; sandbox allow-scripts allow-downloads"
)
_SHOWN = ("video/", "audio/", "image/png", "image/jpeg")


def routes(settings: UiSettings) -> list[BaseRoute]:
    """The routes for starlette."""
    from starlette.responses import FileResponse, PlainTextResponse
    from starlette.routing import Route

    def answer(path: Path | None, name: str, *, pages: bool, download: bool) -> Response:
        if path is None:
            return PlainTextResponse("There is no such file of yours.", 404)
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        html = pages and kind in ("text/html", "text/css", "text/javascript", "application/json")
        safe = html or kind.startswith(_SHOWN)
        headers = {"content-security-policy": _SANDBOX if pages else _NO_SCRIPT, "cache-control": "private, no-cache"}
        inline = "attachment" if download or not safe else "inline"
        kind = kind if safe else "application/octet-stream"
        return FileResponse(path, media_type=kind, filename=name, content_disposition_type=inline, headers=headers)

    def file(request: Request) -> Response:
        run, name = request.path_params["run"], request.path_params["name"]
        path = file_of(settings, _secret(request, settings), run, name)
        return answer(path, name, pages=False, download="download" in request.query_params)

    def report(request: Request) -> Response:
        run, inner = request.path_params["run"], request.path_params["path"]
        path = page_of(settings, _secret(request, settings), run, inner)
        return answer(path, Path(inner).name, pages=True, download=False)

    return [Route(FILE + "/{run}/{name}", file), Route(PAGES + "/{run}/{path:path}", report)]


def file_of(settings: UiSettings, secret: str, run_id: str, name: str) -> Path | None:
    """The output, source or speech of one of the user's runs, by its name; None for everything else."""
    try:
        run = see(Room(settings.folder, secret).run(run_id))
    except RaydubError:
        return None
    known = [*([run.output] if run.output is not None else []), *sources_of(run)]
    return next((path for path in known if path.name == name and path.is_file()), None)


def sources_of(run: RunSeen) -> list[Path]:
    """The files that a run reads: video, speech, and the picture of who speaks."""
    named = [str(run.row[field]) for field in ("video", "audio", "script") if run.row.get(field)]
    scheme, _, picture = str(run.row.get("face", "")).partition("reference:")
    return [Path(path) for path in (*named, *([picture] if picture and not scheme else []))]


def page_of(settings: UiSettings, secret: str, run_id: str, inner: str) -> Path | None:
    """A file of a run's report; None for everything that is not inside of it."""
    try:
        root = Room(settings.folder, secret).run(run_id) / REPORT
    except RaydubError:
        return None
    path = root / inner
    if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
        return None
    return path


def plays(path: Path) -> bool:
    """Whether browsers usually play a video by its container."""
    return path.suffix.lower() in {".mp4", ".m4v", ".webm", ".mov"} & VIDEO and kind_of(path.name) == "video"


def _secret(request: Any, settings: UiSettings) -> str:
    return cookies_of(request.headers.get("cookie", ""), settings.port).get(USER, "")
