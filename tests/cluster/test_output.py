"""What commands print cannot steer the terminal."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.cluster.output import harmless, show_error, warn
from raydub.errors import Code, InputError
from raydub.logs import doing


@given(st.text())
def test_only_text_line_ends_and_tabs_get_through(text: str) -> None:
    shown = harmless(text)
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") or c in "\n\t" for c in shown)
    shown.encode()


def test_plain_text_stays_and_file_names_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert harmless("Straße 東京\t1\n") == "Straße 東京\t1\n"
    show_error(InputError(Code.INPUT_UNREADABLE, "image /x/\x1b]0;owned\x07\u202egpj.png cannot be read"))
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "\\x1b]0;owned\\x07\\u202egpj.png" in shown


def test_messages_as_json_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("raydub.logs._format", "json")
    show_error(InputError(Code.INPUT_MISSING, "no such file", job="a", field="video"))
    with doing(job="b", code="E_STORAGE"):
        warn("[E_STORAGE] job 'b': no disk")
    warn("[W_BED] job 'a': no bed")
    warn("5/9 frames")
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(row["level"], row["job"], row.get("code")) for row in rows] == [
        ("ERROR", "a", "E_INPUT_MISSING"),
        ("ERROR", "b", "E_STORAGE"),
        ("WARNING", None, None),
        ("INFO", None, None),
    ]
    assert rows[0]["message"] == "[E_INPUT_MISSING] job 'a', field 'video': no such file"
