"""How the page looks, and parts that several views use."""

from __future__ import annotations

import html
from urllib.parse import quote

import streamlit as st

from raydub.cluster.ui.files import FILE

ICON = "🎬"

_STYLE = """
<style>
.stMainBlockContainer { max-width: 54rem; padding-top: 1.2rem; padding-bottom: 4rem; }
.rd-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: .4rem 1.4rem; margin-bottom: .4rem; }
.rd-head .rd-name { font-size: 1.5rem; font-weight: 700; letter-spacing: -.02em; color: inherit; text-decoration: none; }
.rd-head nav { display: flex; gap: 1.1rem; }
.rd-head nav a { color: inherit; text-decoration: none; padding: .45rem .1rem; border-bottom: 2px solid transparent; }
.rd-head nav a:hover { border-bottom-color: currentColor; }
.rd-head nav a[aria-current] { font-weight: 600; border-bottom-color: #0d9488; }
.rd-step { display: flex; align-items: center; gap: .6rem; margin: 1.4rem 0 .1rem; font-size: 1.15rem; font-weight: 650; }
.rd-step .rd-number { display: inline-flex; width: 1.7rem; height: 1.7rem; border-radius: 50%; align-items: center;
  justify-content: center; background: #0f766e; color: #fff; font-size: .9rem; }
.rd-pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; margin: .3rem 0 .8rem; }
.rd-pair figure { margin: 0; } .rd-pair figcaption { font-weight: 600; margin-bottom: .3rem; }
.rd-pair video { width: 100%; max-height: 65vh; border-radius: .6rem; background: #000; }
.rd-get { display: inline-block; background: #0f766e; color: #fff !important; border-radius: .6rem; padding: .55rem 1.1rem;
  text-decoration: none; font-weight: 600; } .rd-get:hover { background: #115e59; }
.rd-get:focus-visible, .rd-head a:focus-visible, .rd-card:focus-visible { outline: 3px solid #14b8a6; outline-offset: 2px; }
.rd-list { list-style: none; margin: .6rem 0; padding: 0; display: grid; gap: .6rem; }
.rd-card { display: grid; grid-template-columns: 1fr auto; gap: .1rem 1rem; padding: .8rem 1rem; border-radius: .7rem;
  border: 1px solid color-mix(in srgb, currentColor 22%, transparent); color: inherit !important; text-decoration: none !important; }
.rd-card:hover { border-color: #0d9488; } .rd-card b { overflow-wrap: anywhere; }
.rd-card small { opacity: .85; }
.rd-ok, .rd-failed, .rd-working { font-weight: 600; }
.rd-stages { width: 100%; border-collapse: collapse; margin: .4rem 0 1rem; }
.rd-stages th { text-align: left; font-weight: 400; padding: .28rem .8rem .28rem 0; white-space: nowrap; }
.rd-stages td { padding: .28rem 0; } .rd-stages td:last-child { text-align: right; width: 7.5rem; font-variant-numeric: tabular-nums; }
.rd-bar { height: .5rem; border-radius: .25rem; background: color-mix(in srgb, currentColor 16%, transparent); overflow: hidden; }
.rd-bar i { display: block; height: 100%; border-radius: .25rem; background: #0d9488; transition: width .8s linear; }
@media (prefers-reduced-motion: reduce) { .rd-bar i { transition: none; } }
@media (max-width: 30rem) { .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; } }
</style>
"""


def header(view: str) -> None:
    """The name and the ways to the views."""
    ways = (("", "New dub", "/"), ("runs", "My dubs", "/?view=runs"))
    links = "".join(
        f'<a href="{where}" target="_self"{" aria-current=page" if name == view else ""}>{words}</a>'
        for name, words, where in ways
    )
    st.html(_STYLE)
    st.html(
        f'<header class="rd-head"><a class="rd-name" href="/" target="_self">raydub</a>'
        f'<nav aria-label="Views">{links}</nav></header>'
    )


def step(number: int, words: str) -> None:
    """The heading of a step."""
    st.html(f'<h2 class="rd-step"><span class="rd-number" aria-hidden="true">{number}</span>{html.escape(words)}</h2>')


def problem(message: str, hint: str = "") -> None:
    """Something went wrong: what, and the way out."""
    text = _plain(message[:1].upper() + message[1:])
    st.error(f"{text}\n\n{_plain(hint[:1].upper() + hint[1:])}" if hint else text)


def pair(run: str, before: str, after: str, plays: bool) -> None:
    """Source and output beside each other."""
    source = _video(run, before, "Before") if plays else _absent(before)
    st.html(f'<div class="rd-pair">{source}{_video(run, after, "After")}</div>')


def get(run: str, name: str) -> None:
    """The way to download a run's file."""
    st.html(f'<a class="rd-get" href="{_address(run, name)}?download" download>Download {html.escape(name)}</a>')


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


def _plain(text: str) -> str:
    """Text that markdown shows as it is."""
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>#+!|~$:" else one for one in text)
