"""Names of results: one manifest, one name; tries are counted, not piled up."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.manifests.naming import FAILED, check_stem, results_files, results_name


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        ("jobs.jsonl", "jobs.results"),
        ("a.b/jobs.v2.jsonl", "jobs.v2.results"),
        ("jobs.csv", "jobs.csv.results"),
        ("jobs.parquet", "jobs.parquet.results"),
        ("jobs.ndjson", "jobs.ndjson.results"),
        ("jobs.JSONL", "jobs.JSONL.results"),
        ("jobs.csv.jsonl", "jobs.csv.jsonl.results"),
        (".jsonl", ".jsonl.results"),
        ("jobs.results.failed.jsonl", "jobs.results.try-2"),
        ("jobs.results.try-2.failed.jsonl", "jobs.results.try-3"),
        ("jobs.results.try-9.failed.jsonl", "jobs.results.try-10"),
        ("jobs.results.try-1.failed.jsonl", "jobs.results.try-1.try-2"),
        ("jobs.csv.results.failed.jsonl", "jobs.csv.results.try-2"),
        ("out.failed.jsonl", "out.try-2"),
        ("take-3.failed.jsonl", "take-3.try-2"),
        (".failed.jsonl", ".failed.results"),
    ],
)
def test_names(manifest: str, name: str) -> None:
    assert results_name(manifest) == results_name(Path(manifest)) == name


PARTS = st.sampled_from(
    [
        "jobs",
        "a",
        ".jsonl",
        ".csv",
        ".parquet",
        ".ndjson",
        ".JSONL",
        ".results",
        ".failed",
        ".try-2",
        ".try-1",
        ".try-02",
    ]
)
MANIFESTS = st.tuples(st.lists(PARTS, min_size=1, max_size=5), st.sampled_from([".jsonl", ".csv", ".ndjson", ".JSONL"]))


@given(one=MANIFESTS, other=MANIFESTS)
def test_two_manifests_never_share_their_results(one: tuple[list[str], str], other: tuple[list[str], str]) -> None:
    first, second = "".join(one[0]) + one[1], "".join(other[0]) + other[1]
    assert (results_name(first) == results_name(second)) == (first == second)


@given(manifest=MANIFESTS, tries=st.integers(1, 30))
def test_tries_neither_pile_up_nor_write_over_each_other(manifest: tuple[list[str], str], tries: int) -> None:
    name = "".join(manifest[0]) + manifest[1]
    longest = len(name) + len(".results.try-00")
    seen: set[str] = set()
    for _ in range(tries):
        stem = results_name(name)
        written = {path.name for path in results_files(Path("out") / stem)}
        assert not written & (seen | {name})
        seen |= written
        assert len(stem) <= longest
        name = stem + FAILED


@given(st.lists(st.sampled_from(["/", ".", "..", "a", " ", "b.mp4", "~"]), max_size=6).map("".join))
def test_a_stem_is_refused_or_has_files_of_its_name(text: str) -> None:
    try:
        check_stem(Path(text), ["/out/o.mp4"])
    except UsageError as error:
        assert (error.code, error.field) == (Code.FIELD_VALUE, "results")
        assert Path(text).name in ("", "..")
    else:
        assert str(results_files(Path(text)).jsonl) == f"{Path(text)}.jsonl"


@pytest.mark.parametrize(
    ("stem", "output"),
    [
        ("o.mp4/x", "o.mp4"),
        ("O.MP4/a/b", "o.mp4"),
        ("link/x", "o.mp4"),
        ("x", "x.jsonl/o.mp4"),
        ("x", "x.parquet/a/o.mp4"),
        ("link/x", "o.mp4/X.failed.jsonl/o.mp4"),
    ],
)
def test_no_file_stands_where_a_folder_is_needed(tmp_path: Path, stem: str, output: str) -> None:
    (tmp_path / "link").symlink_to("o.mp4")
    with pytest.raises(UsageError) as caught:
        check_stem(tmp_path / stem, [str(tmp_path / "other.mp4"), str(tmp_path / output)])
    assert (caught.value.code, caught.value.field) == (Code.FIELD_CONFLICT, "results")
    check_stem(tmp_path / "results", [str(tmp_path / "results" / "o.mp4"), str(tmp_path / "o.mp4")])
