"""Label and consent in rows, and rows that are refused for lack of consent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code
from raydub.manifests.consent import require_consent
from raydub.manifests.job import Job
from raydub.manifests.marking import MAX_CONSENT, MAX_LABEL
from raydub.manifests.read import check_rows
from raydub.manifests.results import JobResult
from raydub.manifests.rows import parse_row

GOOD = {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"}


def job(**fields: Any) -> Job:
    found = parse_row({**GOOD, **fields}, Path("/in"), Path("/out"))
    assert isinstance(found, Job), found
    return found


@pytest.mark.parametrize(
    ("given_value", "kept"),
    [
        ("Ana Pérez, contract 12", "Ana Pérez, contract 12"),
        ("  Ana ", "Ana"),
        ({"who": "Ana", "reference": "c/12", "until": None}, '{"reference": "c/12", "who": "Ana"}'),
        ("<b>&", "<b>&"),
        ("", None),
        (None, None),
    ],
)
def test_consent(given_value: Any, kept: str | None) -> None:
    assert job(consent=given_value).options.consent == kept


@pytest.mark.parametrize(
    "value", [5, True, {}, "a\nb", "a\x00b", "x" * (MAX_CONSENT + 1), {"a": float("nan")}, ["Ana"]]
)
def test_no_consent(value: Any) -> None:
    found = parse_row({**GOOD, "consent": value}, Path("/in"), Path("/out"))
    assert isinstance(found, list)
    assert [(error.code, error.field) for error in found] == [(Code.FIELD_VALUE, "consent")]


@given(st.text(max_size=MAX_LABEL + 5))
def test_labels_are_one_line_or_refused(text: str) -> None:
    found = parse_row({**GOOD, "label": text}, Path("/in"), Path("/out"))
    if isinstance(found, Job):
        kept = found.options.label
        assert kept is None or (kept == kept.strip() and kept.splitlines() == [kept])
        assert parse_row(found.row(), Path("/in"), Path("/out")) == found
    else:
        assert {error.field for error in found} == {"label"}


def test_fields_of_no_label_change_nothing() -> None:
    assert job(label="none", label_corner="top-left", label_size=0.1, label_font="f.ttf") == job()
    kept = job(label="AI", label_font="f.ttf")
    assert kept.options.label_font == "/in/f.ttf"
    assert kept.inputs()["label_font"] == "/in/f.ttf"
    assert kept.with_inputs({"label_font": "/copy"}).options.label_font == "/copy"


def test_rows_without_consent_are_refused_and_the_others_stay() -> None:
    rows: list[dict[str, Any]] = [
        {**GOOD, "id": "a", "output": "a.mp4", "consent": "Ana"},
        {**GOOD, "id": "b", "output": "b.mp4"},
        {**GOOD, "id": "c", "output": "c.txt"},
        {**GOOD, "id": "d", "output": "d.mp4", "consent": {"who": "Ben"}},
    ]
    asked = check_rows(list(enumerate(rows, 1)), Path("/in"), Path("/out"))
    found = require_consent(asked)
    assert [one.id for one in found.jobs] == ["a", "d"]
    assert [(row.line, row.id, row.errors[0].code) for row in found.bad] == [
        (2, "b", Code.CONSENT),
        (3, "c", Code.OUTPUT_FORMAT),
    ]
    [error] = found.bad[0].errors
    assert (error.job, error.line, error.field, error.exit_code) == ("b", 2, "consent", 2)
    refused = JobResult.refused(found.bad[0])
    assert (refused.status, refused.error_code) == ("failed", "E_CONSENT")
    assert len(asked.jobs) == 3  # without the flag


def test_results_carry_it() -> None:
    asked = JobResult.asked(job(consent={"who": "Ana"}))
    assert json.loads(asked["consent"]) == {"who": "Ana"}
