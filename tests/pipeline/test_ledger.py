"""The ledger: which parts count as done, and which do not."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import pytest

import raydub.pipeline.ledger as ledger_module
from raydub.errors import Code, StageError
from raydub.pipeline.ledger import Ledger, part_name
from raydub.stages.types import Chunk, Gate, Part, Span
from tests.kept import blob_of, files_in, record_of

FRAMES = 25


def chunk(index: int, n: int = 4, job: str = "a", key: str = "") -> Chunk:
    return Chunk(job, "/folder/refs/jobs/abc", index, n, Span(index * FRAMES, (index + 1) * FRAMES), key=key)


def rendered(ledger: Ledger, piece: Chunk, content: bytes = b"frames") -> Part:
    path = ledger.store.temp(".mp4")
    path.write_bytes(content)
    return Part(piece, str(path), FRAMES, 7, 2, {"render": 0.5}, attempt=2)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(str(tmp_path / "work"))


def test_a_part_counts_from_its_record_on(ledger: Ledger) -> None:
    chunks = [chunk(index) for index in range(4)]
    assert ledger.finished_parts(chunks) == {}
    parts = [rendered(ledger, chunks[index]) for index in (0, 2, 3)]
    assert ledger.finished_parts(chunks) == {}
    kept = [ledger.publish_part(part, "run-1") for part in parts[:2]]
    found = ledger.finished_parts(chunks)
    assert set(found) == {0, 2}
    assert found[2] == Part(chunks[2], kept[1].path, FRAMES, 7, 2, {}, reused=True, attempt=2)
    said = ledger.store.record(part_name(chunks[0]))
    assert said is not None
    assert (said["bytes"], said["about"]["run"], said["about"]["seconds"]) == (6, "run-1", {"render": 0.5})
    assert not Path(parts[0].path).exists(), "the file was moved"
    # A record without its bytes is worth nothing.
    Path(kept[0].path).unlink()
    assert ledger.finished_parts(chunks) == {}, "both had the same bytes"


def test_another_span_format_job_or_key_is_another_part(monkeypatch: pytest.MonkeyPatch) -> None:
    one, keyed = chunk(1), chunk(1, key="k1")
    names = {part_name(piece) for piece in (one, chunk(1, 5), chunk(2), keyed, chunk(1, key="k2"))}
    names.add(part_name(dataclasses.replace(one, span=Span(25, 51))))
    names.add(part_name(dataclasses.replace(one, job_dir="/folder/refs/jobs/other")))
    with monkeypatch.context() as patch:
        patch.setattr(ledger_module, "PART_FORMAT", 99)
        names |= {part_name(one), part_name(keyed)}
    assert len(names) == 9
    # The id is no part of it: jobs that differ in their output alone share their parts. With a key, nothing else is.
    assert part_name(chunk(1, job="b")) == part_name(one)
    assert part_name(dataclasses.replace(keyed, n_chunks=99, job_id="z", job_dir="/elsewhere")) == part_name(keyed)


def test_a_damaged_part_or_record_is_done_again(ledger: Ledger, tmp_path: Path) -> None:
    piece, work = chunk(1), tmp_path / "work"
    for find in (blob_of, record_of):
        ledger.publish_part(rendered(ledger, piece, bytes(range(64))))
        assert ledger.finished_part(piece) is not None
        path = find(work, part_name(piece))
        whole = path.read_bytes()
        damaged = [whole[:kept] for kept in (0, 1, len(whole) // 2, len(whole) - 1)]
        damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
        damaged += [whole + b"\n{}", b"[" * 100_000, b"null", b"\xff" * 10]
        for content in damaged:
            path.write_bytes(content)
            assert ledger.finished_part(piece) is None, content
        path.unlink()
        path.mkdir()
        assert ledger.finished_part(piece) is None
        path.rmdir()


def test_records_that_do_not_fit_are_not_believed(ledger: Ledger) -> None:
    piece = chunk(1)
    ledger.publish_part(rendered(ledger, piece))
    name = part_name(piece)
    said = ledger.store.record(name)
    assert said is not None
    about = said["about"]
    wrong = [{"frames": FRAMES - 1}, {"synthesised": None}, {"attempt": "x"}, {"gates": None}, {"gates": [[0, 25]]}]
    for change in wrong:
        ledger.store.put_record(name, {**said, "about": {**about, **change}})
        assert ledger.finished_part(piece) is None, change
    for missing in ("faceless", "frames", "gates"):
        left = {key: value for key, value in about.items() if key != missing}
        ledger.store.put_record(name, {**said, "about": left})
        assert ledger.finished_part(piece) is None, missing
    for change in ({"bytes": 5}, {"sha256": "0" * 64}, {"sha256": "../../x"}, {"suffix": "/../x"}, {"about": []}):
        ledger.store.put_record(name, {**said, **change})
        assert ledger.finished_part(piece) is None, change
    ledger.store.put_record(name, said)
    assert ledger.finished_part(piece) is not None


def test_two_workers_publish_the_same_part(ledger: Ledger) -> None:
    """Two attempts need not give the same bytes: the last record counts, and who holds the first part still can."""
    piece = chunk(1)
    first, second = (ledger.publish_part(rendered(ledger, piece, content)) for content in (b"first", b"second"))
    found = ledger.finished_part(piece)
    assert found is not None
    assert (found.path, Path(first.path).read_bytes()) == (second.path, b"first")


def test_gates_are_kept(ledger: Ledger) -> None:
    piece = chunk(1)
    gates = (Gate(0, 25, 30, 0.25), Gate(1, 30, 50, 1.0))
    ledger.publish_part(dataclasses.replace(rendered(ledger, piece), gates=gates))
    found = ledger.finished_part(piece)
    assert found is not None
    assert found.gates == gates
    assert all(isinstance(gate, Gate) for gate in found.gates)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, Code.DISK_FULL), (errno.EIO, Code.STORAGE)])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "utime"])
def test_storage_trouble_has_a_code_and_leaves_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, number: int, code: Code
) -> None:
    part = rendered(ledger, chunk(1))

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StageError) as caught:
            ledger.publish_part(part)
    assert caught.value.code == code
    assert ledger.finished_part(part.chunk) is None
    # At most the blob is there, whole, without a name: the same work gives the same blob.
    assert [path for path in files_in(tmp_path) if path.suffix != ".mp4"] == []
    assert all(path.read_bytes() == b"frames" for path in files_in(tmp_path))
