"""CSV: lines of the file are told, not rows; one bad row costs itself."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.manifests.limits import MAX_CELL
from raydub.manifests.read import ManifestResult, read_manifest
from tests.examples import examples

HEAD = b"video,audio,output\n"


def read(tmp_path: Path, data: bytes) -> ManifestResult:
    (tmp_path / "m.csv").write_bytes(data)
    return read_manifest(tmp_path / "m.csv")


def found(result: ManifestResult) -> list[tuple[int | None, str]]:
    lines = [(job.line, job.id) for job in result.jobs] + [(error.line, str(error.code)) for error in result.errors]
    return sorted(lines, key=lambda pair: pair[0] or 0)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_are_counted_through_values_of_several_lines(tmp_path: Path, end: bytes) -> None:
    rows = [
        b"video,audio,output,id",
        b'a.mp4,b.wav,o.mp4,"one\ntwo\n\nthree"',  # lines 2 to 5, refused for its id
        b"a.mp4,b.wav,p.mp4,p",
        b"",
        b"short,row",
        b'a.mp4,b.wav,q.mp4,"q"',
        b"a.mp4,b.wav,r.mp4,r,extra",
    ]
    result = read(tmp_path, end.join(row.replace(b"\n", end) for row in rows) + end)
    syntax = str(Code.MANIFEST_SYNTAX)
    assert found(result) == [(2, str(Code.FIELD_VALUE)), (6, "p"), (8, syntax), (9, "q"), (10, syntax)]


def test_a_quote_in_the_wrong_place_costs_its_row(tmp_path: Path) -> None:
    data = HEAD + b'"a"x.mp4,b.wav,o.mp4\na.mp4,5" screen.wav,p.mp4\n"a"".mp4",b.wav,q.mp4\n'
    result = read(tmp_path, data)
    assert found(result) == [(2, str(Code.MANIFEST_SYNTAX)), (3, "p"), (4, "q")]
    assert [Path(job.audio or "").name for job in result.jobs] == ['5" screen.wav', "b.wav"]
    assert Path(result.jobs[1].video).name == 'a".mp4'


@pytest.mark.parametrize("rest", [b"", b"a.mp4,b.wav,p.mp4\n" * 3, b"a.mp4,b.wav,p.mp4\n" * 20_000])
def test_a_quote_that_is_never_closed_says_where_it_was_opened(tmp_path: Path, rest: bytes) -> None:
    result = read(tmp_path, HEAD + b'a.mp4,b.wav,o.mp4\n"a.mp4,b.wav,p.mp4\n' + rest)
    assert found(result) == [(2, "o"), (3, str(Code.MANIFEST_SYNTAX))]


def test_a_long_value_costs_its_row(tmp_path: Path) -> None:
    long = [b"x" * (MAX_CELL + 1), b"x" * (3 * MAX_CELL)]
    result = read(tmp_path, HEAD + b"".join(text + b",b.wav,o.mp4\n" for text in long) + b"a.mp4,b.wav,p.mp4\n")
    assert found(result) == [(2, str(Code.MANIFEST_SYNTAX)), (3, str(Code.MANIFEST_SYNTAX)), (4, "p")]


def test_an_encoding_of_one_value_costs_its_row(tmp_path: Path) -> None:
    result = read(tmp_path, HEAD + b"caf\xe9.mp4,b.wav,o.mp4\na.mp4,b.wav,caf\xc3\xa9.mp4\n\xe9,\xe9,\xe9\n")
    assert found(result)[:2] == [(2, str(Code.FIELD_VALUE)), (3, "café")]
    assert [error.field for error in result.errors] == ["video", "video", "audio", "output"]
    assert "UTF-8" in result.errors[0].message


def test_blank_lines_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydub.manifests.separated.MAX_ROWS", 50)
    for end in (b"\n", b"\r", b"\r\n"):
        with pytest.raises(UsageError, match="more than 50 rows"):
            read(tmp_path, HEAD + end * 60)
        assert read(tmp_path, HEAD.strip() + end * 40 + b"a,b,o.mp4").jobs[0].line == 41


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ['"', "\n", "\r\n", ",", 'a"b', "\r", " "]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(80))
@given(cells=st.lists(CELL, min_size=1, max_size=6))
def test_what_csv_writes_is_read_back_at_its_line(tmp_path: Path, cells: list[str]) -> None:
    """Whatever the ids hold, rows keep their values, and each its line in the file."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["video", "audio", "output", "id"])
    places = []
    for number, cell in enumerate(cells):
        places.append(len(text.getvalue().replace("\r\n", "\n").replace("\r", "\n").split("\n")))
        writer.writerow([f"{number}.mp4", "b.wav", f"o{number}.mp4", cell])
    result = read(tmp_path, text.getvalue().encode())
    lines = {job.line: Path(job.video).name for job in result.jobs} | {
        row.line: Path(row.row["video"]).name for row in result.bad
    }
    assert lines == {place: f"{number}.mp4" for number, place in enumerate(places)}


def test_semicolons_separate_where_the_header_has_no_comma(tmp_path: Path) -> None:
    """As spreadsheets of many countries write it; values may hold commas then, and quoted ones semicolons."""
    rows = [
        b"video;audio;output;pads;voice",
        b'a.mp4;b,c.wav;o.mp4;"0,10,0,0";"anna=es; ben=de"',
        b"a.mp4;b.wav;p.mp4;;",
        b"a.mp4;b.wav",
    ]
    result = read(tmp_path, b"\xef\xbb\xbf\n" + b"\r\n".join(rows) + b"\r\n")
    assert found(result) == [(3, "o"), (4, "p"), (5, str(Code.MANIFEST_SYNTAX))]
    assert Path(result.jobs[0].audio or "").name == "b,c.wav"
    assert result.jobs[0].options.pads == (0, 10, 0, 0)
    assert "5" in result.errors[0].message


def test_a_comma_in_the_header_decides(tmp_path: Path) -> None:
    result = read(tmp_path, b'video,audio,output,voice\na.mp4,b;c.wav,o.mp4,"anna=es; ben=de"\n')
    assert Path(result.jobs[0].audio or "").name == "b;c.wav"
