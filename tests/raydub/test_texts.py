"""What is written is UTF-8, and JSON for every reader."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.texts import escaped, has_utf8, strict_json

TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["\ud800", "caf\udce9.mp4", "\udcff\udcfe", "é\U0001f3b5"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=4) | st.fractions(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(TEXT | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


@given(value=VALUES)
def test_anything_becomes_strict_json_in_utf8(value: Any) -> None:
    text = strict_json(value)
    assert has_utf8(text)
    text.encode()
    assert len(text.splitlines()) == 1
    json.loads(text, parse_constant=no_constant)


@given(text=TEXT)
def test_text_is_read_back_as_it_was(text: str) -> None:
    assert json.loads(strict_json({text: [text]})) == {text: [text]}
    assert has_utf8(escaped(text))
    assert (escaped(text) == text) == has_utf8(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "null"),
        ([float("inf"), [-float("inf")]], '["Infinity", ["-Infinity"]]'),
        ("caf\udce9", '"caf\\udce9"'),
        (b"caf\xe9", '"caf\\udce9"'),
        ({1: Fraction(1, 3)}, '{"1": "1/3"}'),
    ],
)
def test_the_rules(value: Any, text: str) -> None:
    assert strict_json(value) == text
