"""The script that streamlit runs for each user, at each change: which view is shown."""

from __future__ import annotations

import streamlit as st

from raydub.cluster.ui import looks, page_new, page_run, page_runs
from raydub.cluster.ui.gate import USER
from raydub.cluster.ui.rooms import Room
from raydub.cluster.ui.settings import current
from raydub.errors import RaydubError


def main() -> None:
    """Show the view that the address names."""
    st.set_page_config(page_title="raydub", page_icon=looks.ICON, layout="centered", initial_sidebar_state="collapsed")
    view = st.query_params.get("view", "")
    run = st.query_params.get("run")
    looks.header("run" if run else view)
    settings = current()
    try:
        room = Room(settings.folder, st.context.cookies.get(f"{USER}_{settings.port}", ""))
        if run is not None:
            page_run.show(room, settings, run)
        elif view == "runs":
            page_runs.show(room)
        else:
            page_new.show(room, settings)
    except RaydubError as error:
        looks.problem(error.message, error.hint)
    except OSError as error:
        # Streamlit's own exceptions for control flow are no OSErrors.
        looks.problem(f"files on the server: {error.strerror or 'an error'}", "try again, or ask who runs this page")


main()
