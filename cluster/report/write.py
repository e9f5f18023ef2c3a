"""Write a report: one file with everything in it, or a folder with a page per video."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from raydub import __version__, files
from raydub.cluster.report.gather import Video
from raydub.cluster.report.index import summary, table_of
from raydub.cluster.report.media import Made, placed
from raydub.cluster.report.pages import MARK, PLOTLY, STYLE, assets, in_base64, render
from raydub.cluster.report.sections import section_of
from raydub.cluster.report.texts import shown
from raydub.cluster.report.totals import Totals
from raydub.errors import Code, UsageError
from raydub.regular import read_regular
from raydub.texts import strict_json

INDEX, LIST = "index.html", "raydub-report.json"
MOST_INLINE = 150 << 20
"""Bytes of media that one file may contain: browsers keep all of it in memory."""
_TYPES = {".mp4": "video/mp4", ".jpg": "image/jpeg"}
_HEAD = 4096
_OURS = re.compile(
    r"index\.html|raydub-report\.json|video-[0-9]{4,}\.html|assets/[a-z.]+\.(js|css)|media/[0-9a-f]{24}\.(mp4|jpg)"
)
"""Names that a report gives to its files. A list that came with a folder of somebody else may contain any others."""
_NONE = "default-src 'none'; connect-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'"
_FILE = "img-src data: blob:; media-src blob: {media}; script-src {scripts}"
# Pages of a folder load only what lies in it: 'self' on a web server, file: where there is none.
_FOLDER = " 'self' file:; img-src 'self' file: data: blob:; media-src 'self' file:; script-src 'self' file:"


@dataclass(frozen=True)
class Contents:
    """All that a report shows. media: made for each video, by name; keys: of these, by (video, name); links: paths of
    originals that stand in for films, by (video, name); wanted: whether media were to be made."""

    name: str
    results: str
    videos: Sequence[Video]
    totals: Totals
    media: Mapping[int, Mapping[str, Made]]
    keys: Mapping[tuple[int, str], str]
    links: Mapping[tuple[int, str], str]
    wanted: bool

    def inline_bytes(self) -> int:
        """Size of the media in a single file."""
        made = (one for media in self.media.values() for name, one in media.items() if name != "levels" and one.path)
        return sum(os.path.getsize(one.path) for one in made) * 4 // 3


def write_file(contents: Contents, path: Path) -> list[Path]:
    """One page with all videos. Raises UsageError FIELD_VALUE if its media are too large, StageError STORAGE or
    DISK_FULL."""
    size = contents.inline_bytes()
    if size > MOST_INLINE:
        raise UsageError(
            Code.FIELD_VALUE,
            f"one file would have {size >> 20} MB of media, more than {MOST_INLINE >> 20} MB",
            hint="give a folder: a name without .html; or --link-media, or --no-media",
            field="output",
        )
    blobs, sections = [], []
    hrefs = {video.number: f"#video-{video.number}" for video in contents.videos}
    for video in contents.videos:
        href = _linked(contents, video, path.parent)
        for name, made in contents.media.get(video.number, {}).items():
            if made.path and name != "levels":
                blob = f"blob-{video.number}-{name}"
                blobs.append((blob, _TYPES[Path(made.path).suffix], made.path))
                href[name] = f"#{blob}"
        sections.append(_section(contents, video, href, hrefs))
    shared = assets()
    linked = "'self' file:" if contents.links else ""
    context = {
        **_common(contents, "#all", hrefs),
        "policy": f"{_NONE}; {_FILE.format(media=linked, scripts=shared.hashes)}",
        "style": _safe(shared.style),
        "script": _safe(shared.script),
        "plotly": _safe(shared.plotly),
        "sections": sections,
        "blobs": ((name, kind, _safe(in_base64(file))) for name, kind, file in blobs),
        "hidden": True,
    }
    _write(path, render("single.html.j2", context))
    return [path]


def write_folder(contents: Contents, folder: Path) -> list[Path]:
    """index.html, a page per video, and what they share. Files of an earlier report that are not part of this one are
    removed. Raises StageError STORAGE or DISK_FULL."""
    before = {*listed(folder), *_media_of(folder)}
    shared = assets()
    written = {
        f"assets/{STYLE}": shared.style.encode(),
        "assets/report.js": shared.script.encode(),
        f"assets/{PLOTLY}": shared.plotly.encode(),
    }
    files.make_parent(folder / "media" / "x")
    hrefs = {video.number: f"video-{video.number:04}.html" for video in contents.videos}
    names = [LIST, *written, *hrefs.values(), INDEX]
    _write(folder / LIST, [_list(sorted({*before, *names}))])
    for name, content in written.items():
        _write(folder / name, [content])
    common = {
        **_common(contents, INDEX, hrefs),
        "policy": _NONE + _FOLDER,
        "hidden": False,
        "plotly": f"assets/{PLOTLY}",
    }
    for video in contents.videos:
        href = _linked(contents, video, folder)
        for name, made in contents.media.get(video.number, {}).items():
            if made.path and name != "levels":
                goal = placed(made, folder / "media", contents.keys[video.number, name])
                href[name] = f"media/{goal.name}"
                names.append(href[name])
        page = {
            **common,
            "v": _section(contents, video, href, hrefs),
            "title": f"{shown(video.result.id)} · raydub report",
        }
        _write(folder / hrefs[video.number], render("page.html.j2", page))
    _write(folder / INDEX, render("page.html.j2", {**common, "v": None}))
    _write(folder / LIST, [_list(sorted(set(names)))])
    for name in before - set(names):
        files.discard(folder / name)
    return [folder / INDEX]


def listed(folder: Path) -> list[str]:
    """The files of the report in a folder, as its list names them; [] if it has none. Names that no report gives are
    left out."""
    try:
        said: Any = json.loads(read_regular(folder / LIST, 64 << 20))
        names = [name for name in said["files"] if isinstance(name, str)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if _OURS.fullmatch(name)]


def _media_of(folder: Path) -> list[str]:
    """Media in a folder of ours, also those that an interrupted report did not come to list. What it was writing is
    removed."""
    for inner in (".", "assets", "media"):
        files.sweep(folder / inner)
    try:
        names = [f"media/{path.name}" for path in (folder / "media").iterdir()]
    except OSError:
        return []
    return [name for name in names if _OURS.fullmatch(name)]


def is_ours(path: Path) -> bool:
    """Whether a page, or a folder, is a report of raydub, so that a new one may take its place; also a folder that is
    empty."""
    try:
        if path.is_dir():
            return bool(listed(path)) or not any(path.iterdir())
        return f'name="generator" content="{MARK}"'.encode() in read_regular(path, _HEAD)
    except OSError:
        return False


def _common(contents: Contents, home: str, hrefs: Mapping[int, str]) -> dict[str, Any]:
    about = {
        "home": home,
        "name": shown(contents.name),
        "results": shown(contents.results),
        "version": __version__,
        "made": time.strftime("%Y-%m-%d %H:%M"),
    }
    return {
        "about": about,
        "mark": MARK,
        "title": f"{shown(contents.name)} · raydub report",
        "table": table_of(contents.videos, hrefs),
        **summary(contents.totals),
    }


def _section(contents: Contents, video: Video, href: Mapping[str, str], hrefs: Mapping[int, str]) -> dict[str, Any]:
    made = section_of(video, contents.media.get(video.number, {}), href, contents.wanted)
    return {**made, "previous": hrefs.get(video.number - 1), "next": hrefs.get(video.number + 1)}


def _linked(contents: Contents, video: Video, folder: Path) -> dict[str, str]:
    """Addresses of originals, relative to the page's folder."""
    found = {}
    for name in ("before", "after"):
        path = contents.links.get((video.number, name))
        if path is not None:
            found[name] = quote(os.fsencode(os.path.relpath(os.path.abspath(path), os.path.abspath(folder))))
    return found


def _list(names: Sequence[str]) -> bytes:
    return strict_json({"report": 1, "files": list(names)}, indent=1).encode()


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file atomically, piece by piece."""
    files.make_parent(path)
    temp = files.temp_beside(path)
    try:
        with open(temp, "xb") as file:
            file.writelines(pieces)
        files.publish(temp, path, durable=False)
    except OSError as error:
        raise files.storage_error(error, str(path)) from error
    finally:
        with suppress(OSError):
            os.unlink(temp)


def _safe(text: str) -> Any:
    """Our own style, scripts and base64: without a sign that could end their element."""
    from markupsafe import Markup

    return Markup(text)
