"""The parts of the view of a new run that ask for files and for the face."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import streamlit as st

from raydub.cluster.ui import looking, looks
from raydub.cluster.ui.answers import MOST_TEXT, Speech
from raydub.cluster.ui.rooms import SCRIPT, SOUND, VIDEO, Kept, Room, kind_of
from raydub.cluster.ui.settings import UiSettings
from raydub.errors import RaydubError
from raydub.manifests.options import choices

_SUFFIXES = {"video": VIDEO, "sound": SOUND, "script": SCRIPT}
_MOST_SHOWN = 100
_ALWAYS = {"largest": "The largest face", "active": "Whoever speaks in the original", "all": "Every face"}
_COLUMNS = 4


def video(room: Room, settings: UiSettings) -> Kept | None:
    """Upload or choose the video; shows what it is."""
    kept = _file(room, settings, "video", "Upload a video", "or choose one")
    if kept is None:
        return None
    picture = _beside(room, kept, looking.PICTURE)
    seen = _looked_at(kept, "video", picture)
    if seen is None:
        return None
    left, right = st.columns([1, 3])
    if picture.is_file():
        left.image(str(picture), width="stretch", alt="The first frame")
    right.markdown(f"**{looks.plain(kept.name)}**  \n{seen.words()}")
    return kept


def speech(room: Room, settings: UiSettings) -> Speech | None:
    """Upload or choose the speech, or type it."""
    kinds = {"sound": "A recording", "script": "Subtitles or a script", "typed": "Type it"}
    kind = st.radio(
        "The speech is", list(kinds), format_func=lambda one: kinds[one], horizontal=True, label_visibility="collapsed"
    )
    if kind == "sound":
        kept = _file(room, settings, "sound", "Upload a recording", "or choose one")
        seen = _looked_at(kept, "sound") if kept is not None else None
        if kept is None or seen is None:
            return None
        st.caption(f"{looks.plain(kept.name)}: {seen.words()}")
        return Speech(kept)
    kept = _typed(room) if kind == "typed" else _file(room, settings, "script", "Upload a script", "or choose one")
    left, right = st.columns(2)
    language = left.text_input(
        "Language", help="Such as es, fr or pt-br", key="language", max_chars=20, placeholder="es"
    )  # fmt: skip
    voice = right.text_input(
        "Voice", help="Name of a voice; empty for the usual one", key="voice", max_chars=60
    )  # fmt: skip
    return None if kept is None else Speech(kept, language or "", voice or "")


def face(room: Room, chosen: Kept) -> str:
    """Pick who speaks; the value of the field `face`."""
    key = f"faces-{chosen.path}"
    if key not in st.session_state:
        left, right = st.columns([1, 2])
        if left.button("Show the faces", key="find"):
            with st.spinner("Looking for faces"):
                folder = _beside(room, chosen, "faces")
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    st.session_state[key] = looking.faces(chosen.path, folder)
                except RaydubError as error:
                    looks.problem(error.message, error.hint)
            if key in st.session_state:
                st.rerun()
        right.caption("Without a choice it is the largest face.")
        return "largest"
    found: list[looking.Face] = st.session_state[key]
    if not found:
        st.warning("No face was found. A dub would change the sound only.")
        return "largest"
    for first in range(0, len(found), _COLUMNS):
        for place, one in zip(st.columns(_COLUMNS), found[first : first + _COLUMNS], strict=False):
            number = found.index(one) + 1
            words = f"Person {number}, in {one.share:.0%} of the video"
            place.image(str(one.picture), caption=words, alt=f"Person {number}", width="stretch")
    labels = _ALWAYS | {one.value: f"Person {number}" for number, one in enumerate(found, 1)}
    several = [name for name in ("active", "all") if len(found) > 1 and name in choices("face")]
    asked = ["largest", *(one.value for one in found), *several]
    value = st.radio("Who speaks", asked, format_func=lambda one: labels[one], horizontal=True, key=f"who-{chosen.id}")
    return value or "largest"


def _file(room: Room, settings: UiSettings, kind: str, upload: str, choose: str) -> Kept | None:
    """A file of the user's: the one just uploaded, or one that is chosen."""
    turn = st.session_state.setdefault(f"turn-{kind}", 0)
    suffixes = sorted(one[1:] for one in _SUFFIXES[kind])
    given = st.file_uploader(upload, type=suffixes, key=f"upload-{kind}-{turn}", max_upload_size=settings.max_upload_mb)
    if given is not None:
        try:
            kept = room.keep(given.name, given.getvalue(), _SUFFIXES[kind])
            st.session_state[f"own-{kind}"] = str(kept.path)
        except RaydubError as error:
            st.session_state[f"refused-{kind}"] = (error.message, error.hint)
        _forget(given)
        # Another key: the next upload begins with an empty field, and the bytes are not kept in memory.
        st.session_state[f"turn-{kind}"] = turn + 1
        st.rerun()
    refused = st.session_state.pop(f"refused-{kind}", None)
    if refused is not None:
        looks.problem(*refused)
    known = {str(one.path): one for one in [*room.files(kind), *_offered(settings, kind)][:_MOST_SHOWN]}
    if not known:
        return None
    # The choice is kept apart from the widget, and each upload has a new widget: what the browser says of an old one,
    # because it did not know of the upload yet, must not undo it.
    own = st.session_state.get(f"own-{kind}")
    picked = st.selectbox(
        choose.capitalize(),
        list(known),
        index=list(known).index(own) if own in known else None,
        format_func=lambda path: known[path].name,
        key=f"chosen-{kind}-{st.session_state[f'turn-{kind}']}",
        placeholder="Earlier uploads and samples",
    )
    return known.get(picked) if picked else None


def _typed(room: Room) -> Kept | None:
    text = st.text_area("Text to speak", key="typed", max_chars=MOST_TEXT, height=140) or ""
    if not text.strip():
        return None
    before = st.session_state.get("typed-kept")
    if before is not None and before[0] == text and before[1].path.is_file():
        return before[1]  # type: ignore[no-any-return]
    kept = room.keep("typed.txt", text.encode(), SCRIPT)
    st.session_state["typed-kept"] = (text, kept)
    return kept


def _offered(settings: UiSettings, kind: str) -> list[Kept]:
    """Files that everybody may choose: the demo's sample, and those of the folder for it."""
    from raydub.cluster.commands.demo import _sample

    folders = [settings.media] if settings.media is not None else []
    with contextlib.suppress(RaydubError):
        folders.append(_sample())
    return [
        Kept("", path, kind)
        for folder in folders
        for path in sorted(folder.iterdir())
        if kind_of(path.name) == kind and path.is_file() and path.name != "jobs.jsonl"
    ]


def _looked_at(kept: Kept, kind: str, picture: Path | None = None) -> looking.Look | None:
    """What a file is, remembered; None, with the reason shown, where it is none of its kind."""
    key = f"look-{kept.path}"
    if key not in st.session_state:
        if picture is not None:
            picture.parent.mkdir(parents=True, exist_ok=True)
        with st.spinner("Looking at the file"):
            try:
                st.session_state[key] = looking.look(kept.path, kind, picture)
            except RaydubError as error:
                st.session_state[key] = error
    seen: Any = st.session_state[key]
    if isinstance(seen, RaydubError):
        reason = (seen.message, seen.hint or f"Choose another file: this one is no {kind}, or it is damaged")
        if not kept.id:
            looks.problem(*reason)
            return None
        # What is no use is not kept, and not offered again.
        shutil.rmtree(kept.path.parent, ignore_errors=True)
        st.session_state[f"refused-{kind}"] = reason
        st.session_state[f"turn-{kind}"] += 1
        st.rerun()
    return seen  # type: ignore[no-any-return]


def _beside(room: Room, kept: Kept, name: str) -> Path:
    """Where something about a file is kept: beside uploads, and in the user's own folder for those of everybody."""
    if kept.id:
        return kept.path.parent / name
    return room.path / "offered" / f"{kept.path.parent.name}-{kept.path.name}" / name


def _forget(given: Any) -> None:
    """Drop an upload from streamlit's memory: it is on the disk."""
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    remove = getattr(context.uploaded_file_mgr, "remove_file", None) if context is not None else None
    if context is not None and remove is not None:
        remove(context.session_id, given.file_id)
