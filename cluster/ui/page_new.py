"""The view of a new run: video, speech, who speaks, how, go."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from raydub.cluster.ui import looks, parts_new
from raydub.cluster.ui.answers import Speech, check, command_of, output_name, row_of, shown_row
from raydub.cluster.ui.desk import open_desk
from raydub.cluster.ui.rooms import Kept, Room
from raydub.cluster.ui.settings import UiSettings
from raydub.cluster.ui.words import GROUPS, Asked, asked


def show(room: Room, settings: UiSettings) -> None:
    """Ask for everything that a run needs, and start it."""
    # Each part has a place of its own: what appears in one does not move the others, whose uploads would be lost.
    first, second, third, fourth, last = (st.container() for _ in range(5))
    with first:
        looks.step(1, "The video")
        video = parts_new.video(room, settings)
    with second:
        looks.step(2, "The new speech")
        speech = parts_new.speech(room, settings)
    with third:
        looks.step(3, "Who speaks")
        face = parts_new.face(room, video) if video is not None else _later("Choose a video first.")
    with fourth:
        looks.step(4, "How")
        answers = _answers(speech)
    with last:
        _start(room, settings, video, speech, face, answers)


def _start(
    room: Room, settings: UiSettings, video: Kept | None, speech: Speech | None, face: str, answers: dict[str, Any]
) -> None:
    if video is None or speech is None:
        st.button("Start dubbing", type="primary", disabled=True, help="It needs a video and a speech")
        return
    row = row_of(video.path, speech, face, answers, output_name(video, speech))
    wrong = check(row, settings.folder)
    for message in wrong:
        looks.problem(message)
    if st.button("Start dubbing", type="primary", disabled=bool(wrong), key="start"):
        folder = room.new_run()
        open_desk(settings).order(folder, f"{video.name} with {speech.file.name}", row)
        st.query_params.from_dict({"run": folder.name})
        st.rerun()
    with st.expander("The same without this page"):
        shown = shown_row(row)
        st.code(json.dumps(shown, ensure_ascii=False), language=None, wrap_lines=True)
        st.code(command_of(shown, settings.flags()), language=None, wrap_lines=True)


def _later(words: str) -> str:
    st.caption(words)
    return ""


def _answers(speech: Speech | None) -> dict[str, Any]:
    """Values by field."""
    scripted = speech is not None and speech.file.kind == "script"
    found: dict[str, Any] = {}
    questions = [one for one in asked() if scripted or one.name != "overflow"]
    first, *others = GROUPS
    with st.expander("Settings (the defaults are good)"):
        for group in (first, *others):
            mine = [one for one in questions if one.group == group]
            if mine:
                st.html(f'<h3 class="rd-group">{group}</h3>')
                columns = st.columns(2)
                for number, one in enumerate(mine):
                    with columns[number % 2]:
                        found[one.name] = _ask(one)
    return found


def _ask(one: Asked) -> Any:
    key = f"field-{one.name}"
    if one.words:
        values = list(one.words)
        index = values.index(str(one.default)) if one.default in values else 0
        return st.selectbox(
            one.label, values, index=index, format_func=lambda value: one.words[value], help=one.more, key=key
        )
    if isinstance(one.default, bool):
        return st.toggle(one.label, value=one.default, help=one.more, key=key)
    if isinstance(one.default, int):
        least, most = (-25, 25) if one.default == 0 else (0, 51)
        return int(st.number_input(one.label, least, most, one.default, help=one.more, key=key))
    return st.text_input(one.label, help=one.more, key=key, max_chars=300)
