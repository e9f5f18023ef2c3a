"""The view of one run: its progress, then its result."""

from __future__ import annotations

import json
from pathlib import Path

import streamlit as st

from raydub.cluster.ui import looks
from raydub.cluster.ui.answers import command_of, shown_row
from raydub.cluster.ui.desk import open_desk
from raydub.cluster.ui.files import PAGES, plays, sources_of
from raydub.cluster.ui.rooms import Room
from raydub.cluster.ui.seen import PAGE, REPORT, RunSeen, messages_of, see
from raydub.cluster.ui.settings import UiSettings
from raydub.cluster.ui.words import STAGES, STATES, lasting, share_words

_EVERY = 1.0
_REPORT_HEIGHT = 900
_USUAL = ("prepare", "track", "lipsync", "render", "stitch")


def show(room: Room, settings: UiSettings, run_id: str) -> None:
    """Show a run of the user's. Raises UsageError NO_RUN."""
    folder = room.run(run_id)
    run = see(folder)
    looks.title(run.title)
    if run.is_over:
        _over(room, settings, run)
    else:
        _watched(folder, settings)
    _manifest(run, settings)


def _watched(folder: Path, settings: UiSettings) -> None:
    @st.fragment(run_every=_EVERY)
    def watch() -> None:
        run = see(folder)
        if run.is_over:
            st.rerun()
        _progress(run, open_desk(settings).place(folder))

    watch()
    if st.button("Stop", key="stop"):
        open_desk(settings).stop(folder)
        st.rerun()


def _progress(run: RunSeen, before: int | None) -> None:
    now = run.now
    if run.state == "waiting":
        st.info(f"Waiting: {before} before it." if before else "Waiting for its turn.")
        return
    eta, share = now.get("eta"), float(now.get("share") or 0.0)
    left = f", {lasting(float(eta))} left" if eta is not None else "" if share else ", looking at the files"
    st.progress(min(1.0, share), text=f"{share_words(share)}{left}")
    rows = []
    known = {str(stage.get("stage")): stage for stage in now.get("stages", ())}
    # All of them from the start on, so that nothing moves.
    for name in [*(name for name in STAGES if name in known or name in _USUAL), *(known.keys() - STAGES.keys())]:
        stage = known.get(name, {})
        done, working = float(stage.get("share") or 0.0), int(stage.get("working") or 0)
        more = (f"{working} at work · " if working > 1 else "working · " if working else "") + share_words(done)
        rows.append((STAGES.get(name, name), done, more))
    looks.stages(rows)
    facts = []
    if now.get("frames"):
        facts.append(f"{now['frames_reached']} of {now['frames']} frames")
    if now.get("frames_per_second"):
        facts.append(f"{now['frames_per_second']:.0f} frames a second")
    st.caption(" · ".join([*facts, "You may close or reload this page: the work goes on."]))


def _over(room: Room, settings: UiSettings, run: RunSeen) -> None:
    desk = open_desk(settings)
    if run.state == "ok" and run.output is not None:
        _result(run, settings)
    elif run.state == "stopped":
        st.warning("The work ended before it was done. What is finished is kept.")
    else:
        code, message, hint = run.problem()
        if code == "E_INTERRUPTED":
            st.warning("You stopped it. What is finished is kept.")
        else:
            looks.problem(message or STATES["failed"], hint)
            st.caption(f"Code {code}" if code else "")
        lines = messages_of(run.folder)
        if lines:
            with st.expander("Messages"):
                st.code("\n".join(lines), language=None)
    first, second, _ = st.columns([1, 1, 3])
    if run.state != "ok" and first.button("Continue", key="again", type="primary"):
        desk.again(run.folder)
        st.rerun()
    place = first if run.state == "ok" else second
    if place.button("Remove", key="remove", help="Removes the result and all that belongs to it"):
        desk.forget(run.folder)
        room.remove_run(run.id)
        st.query_params.from_dict({"view": "runs"})
        st.rerun()


def _result(run: RunSeen, settings: UiSettings) -> None:
    assert run.output is not None
    video = Path(str(run.row.get("video", "")))
    looks.pair(run.id, video.name, run.output.name, plays(video))
    looks.get(run.id, run.output.name)
    frames, new = run.result.get("frames"), run.result.get("synthesised")
    if frames:
        st.caption(f"{frames} frames, {new} of them with a new mouth.")
    if run.result.get("verdict"):
        looks.verdict(str(run.result["verdict"]), [str(reason) for reason in run.result.get("reasons", ())])
    if frames and not new:
        st.warning("No frame got a new mouth: only the sound is new. Pick another face, or another video.")
    for warning in run.result.get("warnings", ()):
        words = str(warning).partition(": ")[2] or str(warning)
        st.info(looks.plain(f"{words[:1].upper()}{words[1:]}."))
    page = run.folder / REPORT / PAGE
    if page.is_file():
        with st.expander("Report: compare, plots, figures, components"):
            st.iframe(f"{PAGES}/{run.id}/{PAGE}#video-1", height=_REPORT_HEIGHT)
    elif open_desk(settings).reports(run.folder):
        _report_to_come(run, settings)


def _report_to_come(run: RunSeen, settings: UiSettings) -> None:
    @st.fragment(run_every=2 * _EVERY)
    def wait() -> None:
        if not open_desk(settings).reports(run.folder):
            st.rerun()
        st.caption("A report with a comparing player is being made ..")

    wait()


def _manifest(run: RunSeen, settings: UiSettings) -> None:
    with st.expander("The same without this page"):
        st.write("A line of a manifest, and the command for a terminal:")
        row = shown_row(run.row)
        # Without a language: streamlit's colours of code have too little contrast.
        st.code(json.dumps(row, ensure_ascii=False), language=None, wrap_lines=True)
        st.code(command_of(row, settings.flags()), language=None, wrap_lines=True)
        looks.sources(run.id, [path.name for path in sources_of(run)])
