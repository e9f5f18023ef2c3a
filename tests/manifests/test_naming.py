"""Names of results: one manifest, one name; tries are counted, not piled up."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.naming import FAILED, results_files, results_name


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
