"""The view of a user's earlier runs."""

from __future__ import annotations

import time

import streamlit as st

from raydub.cluster.ui import looks
from raydub.cluster.ui.rooms import Room
from raydub.cluster.ui.seen import RunSeen, see
from raydub.cluster.ui.words import STATES, share_words

_MOST = 100


def show(room: Room) -> None:
    """List the user's runs, the latest first."""
    looks_of = [see(folder) for folder in room.runs()[:_MOST]]
    looks.title("My dubs")
    if not looks_of:
        st.info("Nothing here yet. Begin with a new dub.")
        return
    looks.cards([(run.id, run.title, _state(run), _more(run)) for run in looks_of])
    st.caption("They belong to this browser: another browser, or a private window, does not see them.")


def _state(run: RunSeen) -> str:
    share = f" {share_words(run.now.get('share'))}" if run.state == "working" else ""
    return STATES[run.state] + share


def _more(run: RunSeen) -> str:
    when = time.strftime("%d %b %Y, %H:%M", time.localtime(run.made)) if run.made else ""
    frames = run.result.get("frames")
    return " · ".join(part for part in (when, f"{frames} frames" if run.state == "ok" and frames else "") if part)
