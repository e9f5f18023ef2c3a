"""How the page looks, and parts that several views use."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import quote

import streamlit as st

from raydub.cluster.ui.files import FILE

ICON = "🎬"

_STYLE = Path(__file__).with_name("page.css")


def header(view: str) -> None:
    """The name and the ways to the views."""
    ways = (("", "New dub", "/"), ("runs", "My dubs", "/?view=runs"))
    links = "".join(
        f'<a href="{where}" target="_self"{" aria-current=page" if name == view else ""}>{words}</a>'
        for name, words, where in ways
    )
    st.html(_STYLE)  # a style sheet
    st.html(
        f'<header class="rd-head"><a class="rd-name" href="/" target="_self">raydub</a>'
        f'<nav aria-label="Views">{links}</nav></header>'
    )


def title(words: str) -> None:
    """The heading of a view."""
    st.html(f'<h1 class="rd-title">{html.escape(words)}</h1>')


def step(number: int, words: str) -> None:
    """The heading of a step."""
    st.html(f'<h2 class="rd-step"><span class="rd-number" aria-hidden="true">{number}</span>{html.escape(words)}</h2>')


def problem(message: str, hint: str = "") -> None:
    """Something went wrong: what, and the way out."""
    text = plain(message[:1].upper() + message[1:])
    st.error(f"{text}\n\n{plain(hint[:1].upper() + hint[1:])}" if hint else text)


def pair(run: str, before: str, after: str, plays: bool) -> None:
    """Source and output beside each other."""
    source = _video(run, before, "Before") if plays else _absent(before)
    st.html(f'<div class="rd-pair">{source}{_video(run, after, "After")}</div>')


def get(run: str, name: str) -> None:
    """The way to download a run's file."""
    st.html(f'<a class="rd-get" href="{_address(run, name)}?download" download>Download {html.escape(name)}</a>')


def sources(run: str, names: list[str]) -> None:
    """Links to the files that a run has read."""
    links = ", ".join(f'<a href="{_address(run, name)}?download" download>{html.escape(name)}</a>' for name in names)
    st.html(f"<p>Its files: {links}</p>")


def verdict(word: str, reasons: list[str]) -> None:
    """The verdict of an evaluation, and why."""
    words = {"good": "Checked: good", "look": "Checked: have a look", "bad": "Checked: bad"}.get(word, word)
    text = "\n".join(["", *(f"- {plain(reason)}" for reason in reasons)])
    show = {"good": st.success, "bad": st.error}.get(word, st.warning)
    show(f"**{words}**\n{text}")


def stages(rows: list[tuple[str, float, str]]) -> None:
    """Bars of stages: words, share, and more words."""
    body = "".join(
        f'<tr><th scope="row">{html.escape(words)}</th><td><div class="rd-bar" role="progressbar" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}" aria-label="{html.escape(words)}">'
        f'<i style="width:{100 * share:.1f}%"></i></div></td><td>{html.escape(more)}</td></tr>'
        for words, share, more in rows
    )
    st.html(f'<table class="rd-stages"><tbody>{body}</tbody></table>')


def cards(rows: list[tuple[str, str, str, str]]) -> None:
    """A list of runs: id, title, state, more words."""
    items = "".join(
        f'<li><a class="rd-card" href="/?run={quote(run)}" target="_self"><b>{html.escape(title)}</b>'
        f"<span>{html.escape(state)}</span><small>{html.escape(more)}</small></a></li>"
        for run, title, state, more in rows
    )
    st.html(f'<ul class="rd-list">{items}</ul>')


def _video(run: str, name: str, words: str) -> str:
    return (
        f'<figure><figcaption>{words}</figcaption><video controls playsinline preload="metadata" '
        f'aria-label="{words}: {html.escape(name)}" src="{_address(run, name)}"></video></figure>'
    )


def _absent(name: str) -> str:
    words = "is of a kind that browsers do not play. The report below has a preview of it."
    return f"<figure><figcaption>Before</figcaption><p>{html.escape(name)} {words}</p></figure>"


def _address(run: str, name: str) -> str:
    return f"{FILE}/{quote(run)}/{quote(name)}"


def plain(text: str) -> str:
    """Text that markdown shows as it is."""
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>#+!|~$:" else one for one in text)
