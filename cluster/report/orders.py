"""Which media the page of a video needs: films of source and output, a strip of moments, the level of the sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.cluster.report.gather import Video
from raydub.cluster.report.preview import FORM, evenly, preview_size
from raydub.errors import RaydubError
from raydub.identity import identify
from raydub.media.frames import Transform
from raydub.objects.names import is_object
from raydub.sealed import key_of

MOMENTS = 6
"""Moments of a strip where no evaluation names the worst ones; of those it names, at most twice as many are shown."""
_SUFFIX = {"film": ".mp4", "strip": ".jpg", "levels": ".json"}


@dataclass(frozen=True)
class Order:
    """Something to be made. what: "film", "strip" or "levels"; said: for cluster.report.preview; key: of all that
    decides the result."""

    video: int
    name: str
    what: str
    said: Mapping[str, Any]
    key: str
    frames: int

    @property
    def suffix(self) -> str:
        """Of its file."""
        return _SUFFIX[self.what]


def orders_of(video: Video, link: bool) -> list[Order]:
    """What the page of a video needs. link: no films where the originals serve."""
    if video.output not in ("here", "unchecked") or video.path is None or not video.sha256:
        return []  # no file, or one of which it is not known what it contains
    plan, evaluation = video.plan, video.evaluation
    after = {"path": _near(video.path)}
    frames, orders = video.result.frames, []
    before: dict[str, Any] | None = None
    size = None if plan is None else list(preview_size(*plan.out_size))
    if plan is not None:
        before = {
            "video": plan.video.model_dump(mode="json"),
            "transform": plan.transform.model_dump(mode="json"),
            "timeline": plan.timeline.model_dump(mode="json"),
        }
    said: dict[str, dict[str, Any] | None] = {"after": after, "before": before}
    content = {
        "after": video.sha256,
        "before": None if plan is None else _deciding(before),
    }

    def add(name: str, what: str, ask: Mapping[str, Any], decided: Any) -> None:
        key = key_of([FORM, what, decided])
        orders.append(Order(video.number, name, what, ask, key, frames))

    linked = links_of(video) if link else {}
    for name, film in said.items():
        if film is not None and name not in linked:
            more: dict[str, Any] = {"size": size} if size else {}
            if plan is not None:
                more |= {"rate": str(plan.rate), "aspect": str(plan.sample_aspect)}
            add(name, "film", {**film, **more}, [content[name], more])
    worst = () if evaluation is None else evaluation.worst[: 2 * MOMENTS]
    numbers = sorted({one.frame for one in worst if 0 <= one.frame < frames}) or evenly(frames, MOMENTS)
    if numbers:
        add("strip", "strip", {**said, "frames": numbers}, [content, numbers])
    if plan is not None and not video.levels:
        asked = {"rate": str(plan.rate), "frames": frames}
        add("levels", "levels", {**after, **asked}, [content["after"], asked])
    return orders


def _deciding(before: Mapping[str, Any] | None) -> Any:
    """What decides the frames of a source: its content, not its path."""
    assert before is not None
    video = {name: value for name, value in before["video"].items() if name not in ("path", "look", "index_path")}
    return {**before, "video": video}


def links_of(video: Video) -> dict[str, str]:
    """The originals that a browser plays as the page needs them, by name: an output, and a source that shows the same
    frame at the same time and is unchanged."""
    found: dict[str, str] = {}
    if video.path is not None and plays(video.path):
        found["after"] = video.path
    plan = video.plan
    if plan is not None and plan.timeline.extend == "none" and plan.timeline.kept is None:
        film = plan.video
        as_it_is = plan.transform == Transform() and not (film.variable_rate or film.rotation or film.flip or film.hdr)
        if as_it_is and film.kind == "video" and plays(film.path) and _holds(film.path, film.identity):
            found["before"] = film.path
    return found


def _holds(path: str, sha256: str) -> bool:
    try:
        return identify(path, what="video").sha256 == sha256
    except (OSError, RaydubError):
        return False


def _near(path: str) -> str:
    """The path itself, or for an address in a bucket that of its copy on this machine."""
    if not is_object(path):
        return path
    from raydub.objects.near import copy_of, pin

    return copy_of(pin(path, "output"))


def plays(path: str) -> bool:
    """Whether browsers play this file as it is: H.264 of 8 bits in mp4."""
    if is_object(path) or Path(path).suffix.lower() not in (".mp4", ".m4v"):
        return False
    from raydub.media.opening import open_made

    try:
        with open_made(path) as film:
            picture = film.streams.video[0].codec_context
            return picture.name == "h264" and picture.pix_fmt == "yuv420p"
    except Exception:  # whatever libav says to a file that is none: then a preview is tried
        return False
