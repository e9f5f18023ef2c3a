"""Manifests made to eat memory, to run code or to write on the terminal: each ends in a named error, cheaply."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, RaydubError
from raydub.manifests import formats, parquet
from raydub.manifests.failed import write_failed
from raydub.manifests.read import read_manifest
from raydub.manifests.results import JobResult, write_results
from tests.examples import examples
from tests.manifests.bombs import GOOD, csv_bombs, line_bombs, parquet_bombs, table

ROOT = Path(__file__).resolve().parents[2]
MAY_COST_MB = 450
"""Peak above what the imports take: the largest sample on disk is 64 MB, and a CSV is held twice."""

CHILD = """
import json, sys
from raydub.manifests.read import read_manifest
from raydub.manifests.results import JobResult, write_results
from raydub.errors import RaydubError
def peak():
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
base = peak()
for path in sys.argv[1:]:
    try:
        found = read_manifest(path)
        code = sorted({str(error.code) for error in found.errors})
        write_results([JobResult.refused(row) for row in found.bad], path + ".results.jsonl", None)
        jobs = len(found.jobs)
    except RaydubError as error:
        code, jobs = [str(error.code)], 0
    sys.stdout.write(json.dumps([path, code, jobs, peak() - base]) + chr(10))
"""


def read_all(paths: list[Path]) -> list[tuple[str, list[str], int, int]]:
    """(name, codes, jobs, MB above the start so far) of each manifest, read one after another in one process."""
    call = [sys.executable, "-c", CHILD, *map(str, paths)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [(Path(path).name, codes, jobs, peak) for path, codes, jobs, peak in rows]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_bombs_cost_little_and_are_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.parquet" for name in parquet_bombs()]
    for path, write in zip(paths, parquet_bombs().values(), strict=True):
        write(path)
    for name, content in csv_bombs().items():
        paths.append(tmp_path / f"{name}.csv")
        paths[-1].write_bytes(content)
    found = read_all(paths)
    assert len(found) == len(paths)
    benign = {"formula.csv", "carriage_returns.csv"}
    rows = {"open_quote.csv": "E_MANIFEST_SYNTAX", "nul.csv": "E_FIELD_VALUE"}
    for name, codes, jobs, peak in found:
        assert peak < MAY_COST_MB, name
        if name not in benign:
            assert codes == [rows.get(name, "E_MANIFEST_UNREADABLE")], name
            assert jobs == 0, name


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_a_bad_line_of_any_kind_leaves_the_next_one_alone(tmp_path: Path) -> None:
    paths = []
    for name, content in line_bombs().items():
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_bytes(content + b"\n" + json.dumps(GOOD).encode() + b"\n")
    for name, codes, jobs, peak in read_all(paths):
        assert peak < MAY_COST_MB, name
        assert jobs == 1, name
        assert codes, name
        assert all(code.startswith(("E_MANIFEST_SYNTAX", "E_FIELD")) for code in codes), (name, codes)


def test_limits_say_what_is_too_much(tmp_path: Path) -> None:
    words = {
        "repeated_text": "'id' has a value of more than",
        "squeezed_text": "unpacks to",
        "one_row_group": "more than 1000000 rows",
        "many_columns": "10003 columns",
        "long_list": "'pads.list.element' has lists of more than 64",
    }
    for name, word in words.items():
        path = tmp_path / f"{name}.parquet"
        parquet_bombs()[name](path)
        with pytest.raises(RaydubError, match=word) as caught:
            read_manifest(path)
        assert caught.value.code is Code.MANIFEST_UNREADABLE
        assert "ValueError" not in str(caught.value)


NO_METADATA = bytes.fromhex("1502192c480172150200150425021801630016021 91c191c260800160216020000".replace(" ", ""))
"""A footer in Thrift's compact protocol: one column `c`, and a row group whose column lacks its metadata."""


def test_a_row_that_is_lost_on_the_way_is_told(tmp_path: Path) -> None:
    """pyarrow reads this as no row at all."""
    path = tmp_path / "m.parquet"
    path.write_bytes(b"PAR1" + NO_METADATA + len(NO_METADATA).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(RaydubError, match="says 1 rows, but it has 0") as caught:
        read_manifest(path)
    assert caught.value.code is Code.MANIFEST_UNREADABLE


def test_a_file_that_ends_its_reader_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(table(), tmp_path / "m.parquet")
    monkeypatch.setattr(parquet, "_BOOT", "import os; os.abort()")
    with pytest.raises(RaydubError, match="reader process ended") as caught:
        read_manifest(tmp_path / "m.parquet")
    assert caught.value.code is Code.MANIFEST_UNREADABLE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS counts no addresses")
def test_the_reading_process_has_a_limit_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no check of ours foresees."""
    pq.write_table(pa.table({"video": ["x" * (1 << 20) + str(n) for n in range(300)]}), tmp_path / "m.parquet")
    limits = "import raydub.manifests.parquet as p; p._MEMORY = 600 << 20; p.MAX_BYTES = p.MAX_CELL = 1 << 40; "
    monkeypatch.setattr(parquet, "_BOOT", parquet._BOOT.replace("from raydub", f"{limits}from raydub", 1))
    with pytest.raises(RaydubError, match=r"MemoryError|malloc|reader process ended") as caught:
        read_manifest(tmp_path / "m.parquet")
    assert caught.value.code is Code.MANIFEST_UNREADABLE


def test_a_dictionary_of_good_text_is_read_as_before(tmp_path: Path) -> None:
    columns = {name: pa.array([value] * 3).dictionary_encode() for name, value in GOOD.items() if name != "output"}
    pads = pa.array([[0, 10, 0, 0], None, [1, 2, 3, 4]])
    made = pa.table({**columns, "output": ["x.mp4", "y.mp4", "z.mp4"], "pads": pads, "crf": [20, None, 21]})
    pq.write_table(made, tmp_path / "m.parquet")
    jobs = read_manifest(tmp_path / "m.parquet").jobs
    assert [job.options.pads for job in jobs] == [(0, 10, 0, 0), jobs[1].options.pads, (1, 2, 3, 4)]
    assert [Path(job.video).name for job in jobs] == ["a.mp4"] * 3


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "pickle", "ray.data.arrow_pickled_object", "arrow.opaque"])
def test_nothing_in_parquet_is_unpickled(tmp_path: Path, name: str) -> None:
    trace = tmp_path / "was-run"
    code = pickle.dumps(Trap(trace))
    for blob in (code, base64.b64encode(code)):
        marks = {b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": blob}
        fields = [pa.field(text, pa.string(), metadata=marks if text == "video" else None) for text in GOOD]
        fields.append(pa.field("id", pa.binary(), metadata=marks))
        rows = [*([value] for value in GOOD.values()), [code]]
        made = pa.Table.from_arrays([pa.array(row, field.type) for row, field in zip(rows, fields, strict=True)],
                                    schema=pa.schema(fields, metadata={b"pandas": code}))  # fmt: skip
        pq.write_table(made, tmp_path / "m.parquet")
        try:
            found = read_manifest(tmp_path / "m.parquet")
            assert len(found.jobs) + len(found.bad) == 1
        except RaydubError as error:
            assert error.code is Code.MANIFEST_UNREADABLE
        assert not trace.exists()


ODD = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["\x1b[2J", "\x9b31m", "\u202e", "\u2028", "\ufeff", "\0"]
)


@settings(max_examples=examples(60), deadline=None)
@given(names=st.lists(ODD, min_size=4, max_size=4), more=st.dictionaries(ODD, ODD, max_size=2))
def test_no_text_of_a_row_reaches_an_error_line_raw(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], more: dict[str, str]
) -> None:
    """Ids, field names and values stand in messages in their escaped form: no control character gets through."""
    folder = tmp_path_factory.mktemp("rows")
    row = {**more, **dict(zip(("id", "video", "audio", "output"), names, strict=True))}
    (folder / "m.jsonl").write_text(json.dumps(row) + "\n")
    found = read_manifest(folder / "m.jsonl")
    for error in found.errors:
        assert not any(character < " " or "\x7f" <= character < "\xa0" for character in str(error))
    results = [JobResult.refused(bad) for bad in found.bad]
    write_results(results, folder / "r.jsonl", folder / "r.parquet")
    write_failed(folder / "f.jsonl", results, found.jobs, found.bad, found.folder)
    assert len((folder / "f.jsonl").read_text("utf-8").split("\n")) == len(found.bad) + 1


def test_depth_and_width_are_counted_not_guessed(tmp_path: Path) -> None:
    rows = [
        {**GOOD, "face": "reference:[[[[[[.png", "output": "x.mp4"},
        {**GOOD, "pads": [[[[[1]]]]], "output": "b.mp4"},
        {**GOOD, **{f"f{n}": 1 for n in range(formats.MAX_FIELDS)}, "output": "c.mp4"},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_manifest(tmp_path / "m.jsonl")
    assert [job.line for job in found.jobs] == [1]
    assert [(error.line, error.code) for error in found.errors] == [
        (2, Code.MANIFEST_SYNTAX),
        (3, Code.MANIFEST_SYNTAX),
    ]


def test_a_table_is_a_manifest(tmp_path: Path) -> None:
    """The control: what the bombs are made from is accepted."""
    pq.write_table(table(), tmp_path / "m.parquet")
    assert len(read_manifest(tmp_path / "m.parquet").jobs) == 2


@pytest.mark.parametrize("runs", [os.system, getattr, pickle.loads], ids=lambda runs: runs.__name__)
def test_a_reader_that_was_taken_over_runs_nothing_here(runs: Any) -> None:
    """What a damaged file makes of the child is bounded by the child."""

    class Sent:
        def __reduce__(self) -> Any:
            return runs, (ZoneInfo, "no_cache") if runs is getattr else ("true",)

    with pytest.raises(ValueError, match="its reader process ended"):
        parquet._next(io.BytesIO(pickle.dumps([(1, {"video": Sent()})])))
