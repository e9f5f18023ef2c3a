"""What commands print cannot steer the terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.cluster.output import harmless, show_error
from raydub.errors import Code, InputError


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
