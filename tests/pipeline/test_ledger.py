"""The ledger: what counts as done, and what does not."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from pathlib import Path

import pytest
from pipeline.records import read_record, write_record

import pipeline.ledger as ledger_module
from pipeline.ledger import Ledger
from raydub.errors import Code, StageError
from raydub.files import publish, temp_beside, write_atomic
from stages.types import Chunk, Gate, Part, Span

FRAMES = 25


def chunk(folder: Path, index: int, n: int = 4, job: str = "a") -> Chunk:
    return Chunk(job, str(folder), index, n, Span(index * FRAMES, (index + 1) * FRAMES))


def rendered(ledger: Ledger, piece: Chunk, content: bytes = b"frames") -> Part:
    path = ledger.part_path(piece)
    write_atomic(path, content)
    return Part(piece, str(path), FRAMES, 7, 2, {"render": 0.5}, attempt=2)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(str(tmp_path / "jobs" / "abc"))


def test_a_part_counts_from_its_marker_on(ledger: Ledger) -> None:
    folder = Path(ledger.job_dir)
    chunks = [chunk(folder, index) for index in range(4)]
    assert ledger.finished_parts(chunks) == {}
    parts = [rendered(ledger, chunks[index]) for index in (0, 2, 3)]
    assert ledger.finished_parts(chunks) == {}
    for part in parts[:2]:
        ledger.publish_part(part, "run-1")
    found = ledger.finished_parts(chunks)
    assert set(found) == {0, 2}
    assert found[2] == Part(chunks[2], parts[1].path, FRAMES, 7, 2, {}, reused=True, attempt=2)
    marker = json.loads(Path(parts[0].path).with_suffix(".json").read_text())
    assert {name: marker[name] for name in ("attempt", "run", "stage_version", "bytes", "frames", "seconds")} == {
        "attempt": 2,
        "run": "run-1",
        "stage_version": 1,
        "bytes": 6,
        "frames": FRAMES,
        "seconds": {"render": 0.5},
    }
    # A marker without its file is worth nothing either.
    Path(parts[0].path).unlink()
    assert set(ledger.finished_parts(chunks)) == {2}


def test_resume_lists_the_folder_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = [chunk(Path(ledger.job_dir), index) for index in range(4)]
    ledger.publish_part(rendered(ledger, chunks[1]))
    looked: list[str] = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: looked.append(str(path)) or real(path))
    read = []
    monkeypatch.setattr(ledger_module, "read_record", lambda path: read.append(path) or read_record(path))
    assert set(ledger.finished_parts(chunks)) == {1}
    assert looked == [str(Path(ledger.job_dir) / "parts")]
    assert len(read) == 1


def test_another_span_format_version_or_job_is_another_part(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(ledger.job_dir)
    one = chunk(folder, 1)
    names = {ledger.part_path(piece).name for piece in (one, chunk(folder, 1, 5), chunk(folder, 2))}
    names.add(ledger.part_path(Chunk("a", str(folder), 1, 4, Span(25, 51))).name)
    names.add(Ledger(str(folder.parent / "other")).part_path(one).name)
    for name in ("PART_FORMAT", "STAGE_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(ledger_module, name, 99)
            names.add(ledger.part_path(one).name)
    assert len(names) == 7
    # The id is no part of it: jobs that differ in their output alone share their parts.
    assert ledger.part_path(chunk(folder, 1, job="b")) == ledger.part_path(one)


def test_a_damaged_part_or_marker_is_done_again(ledger: Ledger) -> None:
    piece = chunk(Path(ledger.job_dir), 1)
    for name in (".mp4", ".json"):
        part = rendered(ledger, piece, bytes(range(64)))
        ledger.publish_part(part)
        assert ledger.finished_part(piece) is not None
        path = Path(part.path).with_suffix(name)
        whole = path.read_bytes()
        damaged = [whole[:kept] for kept in (0, 1, len(whole) // 2, len(whole) - 1)]
        damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
        damaged += [whole + b"\n{}", b"[" * 100_000, b"null", b"\xff" * 10]
        for content in damaged:
            path.write_bytes(content)
            assert ledger.finished_part(piece) is None, content
            assert ledger.finished_parts([piece]) == {}
        path.unlink()
        path.mkdir()
        assert ledger.finished_part(piece) is None
        path.rmdir()


def test_frames_other_than_planned_are_not_done(ledger: Ledger) -> None:
    piece = chunk(Path(ledger.job_dir), 1)
    part = rendered(ledger, piece)
    ledger.publish_part(part)
    marker = Path(part.path).with_suffix(".json")
    record = read_record(marker)
    assert record is not None
    for change in ({"frames": FRAMES - 1}, {"stage_version": 0}, {"synthesised": None}, {"attempt": "x"}):
        write_record(marker, {**record, **change})
        assert ledger.finished_part(piece) is None, change
    for name in ("bytes", "sha256", "faceless", "frames"):
        write_record(marker, {key: value for key, value in record.items() if key != name})
        assert ledger.finished_part(piece) is None, name
    write_record(marker, record)
    assert ledger.finished_part(piece) is not None


def test_two_workers_publish_the_same_part(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = chunk(Path(ledger.job_dir), 1)
    first = rendered(ledger, piece, b"first")
    real, others = ledger_module.write_record, [b"second", b"third"]

    def slow(path: Path, value: object) -> None:
        if others:  # the other worker replaces the file while this one writes what it knows of the former file
            temp = temp_beside(first.path)
            Path(temp).write_bytes(others.pop())
            publish(temp, first.path)
        real(path, value)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger_module, "write_record", slow)
    ledger.publish_part(first)
    ledger.publish_part(first)
    assert ledger.finished_part(piece) is not None


def test_a_finished_job_is_known_by_its_output(ledger: Ledger, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    assert ledger.finished_job(str(output)) is None
    with pytest.raises(StageError) as caught:
        ledger.publish_job(str(output), {"status": "ok"})
    assert caught.value.code == Code.STORAGE
    output.write_bytes(b"a" * (3 << 20))
    ledger.publish_job(str(output), {"status": "ok", "words": "naïve \ud800"})
    assert ledger.finished_job(str(output)) == {"status": "ok", "words": "naïve \ud800"}
    assert ledger.finished_job(str(tmp_path / "another.mp4")) is None
    for content in (b"a" * (3 << 20) + b"a", b"b" + b"a" * ((3 << 20) - 1), b""):
        output.write_bytes(content)
        assert ledger.finished_job(str(output)) is None
    output.unlink()
    assert ledger.finished_job(str(output)) is None


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, Code.DISK_FULL), (errno.EIO, Code.STORAGE)])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "mkdir"])
def test_storage_trouble_has_a_code_and_leaves_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, number: int, code: Code
) -> None:
    part = rendered(ledger, chunk(Path(ledger.job_dir), 1))
    output = tmp_path / "out.mp4"
    output.write_bytes(b"film")
    before = {str(path) for path in tmp_path.rglob("*")}

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        for work in (lambda: ledger.publish_part(part), lambda: ledger.publish_job(str(output), {})):
            if call == "mkdir":  # the folder is there: nothing to make
                continue
            with pytest.raises(StageError) as caught:
                work()
            assert caught.value.code == code
    assert {str(path) for path in tmp_path.rglob("*")} - before == set()
    assert ledger.finished_part(part.chunk) is None
    assert ledger.finished_job(str(output)) is None


def shared(folder: Path, parts: Path, key: str = "k1", index: int = 1) -> Chunk:
    """A chunk whose part is known by what decides its frames, and lies beside those of other jobs."""
    return dataclasses.replace(chunk(folder, index), key=key, parts_dir=str(parts))


def test_jobs_share_the_parts_that_are_the_same(tmp_path: Path) -> None:
    parts = tmp_path / "parts" / "clip"
    one, other = (Ledger(str(tmp_path / "jobs" / name)) for name in ("a", "b"))
    mine, theirs = (shared(Path(ledger.job_dir), parts) for ledger in (one, other))
    assert one.part_path(mine) == other.part_path(theirs)
    assert one.part_path(mine).parent == parts
    one.publish_part(rendered(one, mine), "run-1")
    found = other.finished_parts([theirs, shared(Path(other.job_dir), parts, "k2", 2)])
    assert set(found) == {1}
    assert (found[1].chunk, found[1].reused) == (theirs, True)
    # Neither the number of chunks nor the job is in the name, but the place in the film, the key and the versions are.
    name = one.part_path(mine).name
    assert one.part_path(dataclasses.replace(mine, n_chunks=99, job_id="z")).name == name
    assert one.part_path(dataclasses.replace(mine, key="k2")).name != name
    assert one.part_path(dataclasses.replace(mine, span=Span(26, 51))).name != name
    assert one.part_path(dataclasses.replace(mine, key="")).name != name


def test_another_version_is_another_shared_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(str(tmp_path / "jobs" / "a"))
    mine = shared(Path(ledger.job_dir), tmp_path / "parts")
    names = {ledger.part_path(mine).name}
    for name in ("PART_FORMAT", "STAGE_VERSION"):
        with monkeypatch.context() as patch:
            patch.setattr(ledger_module, name, 99)
            names.add(ledger.part_path(mine).name)
    assert len(names) == 3


def test_the_sweep_reaches_shared_parts(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "jobs" / "a"))
    mine = shared(Path(ledger.job_dir), tmp_path / "parts" / "clip")
    part = rendered(ledger, mine)
    ledger.publish_part(part)
    output = tmp_path / "o.mp4"
    output.write_bytes(b"film")
    temp = Path(temp_beside(part.path))
    # Its writer is a process that cannot be: pids end far below.
    dead = temp.with_name(re.sub(r"_\d+_(\d+)_", r"_4194999_\1_", temp.name))
    for path in (temp, dead):
        path.write_bytes(b"half")
    ledger.publish_job(str(output), {"status": "ok"}, [part])
    assert temp.exists(), "its writer lives"
    assert not dead.exists()
    assert ledger.finished_part(mine) is not None


def test_gates_are_kept_and_damaged_ones_are_not_believed(ledger: Ledger) -> None:
    piece = chunk(Path(ledger.job_dir), 1)
    gates = (Gate(0, 25, 30, 0.25), Gate(1, 30, 50, 1.0))
    ledger.publish_part(dataclasses.replace(rendered(ledger, piece), gates=gates))
    found = ledger.finished_part(piece)
    assert found is not None
    assert found.gates == gates
    assert all(isinstance(gate, Gate) for gate in found.gates)
    marker = Path(found.path).with_suffix(".json")
    record = read_record(marker)
    assert record is not None
    for damaged in (None, 3, [1], [[0, 25]], [[0, 25, 30, 0.5, 1]], "x"):
        write_record(marker, {**record, "gates": damaged})
        assert ledger.finished_part(piece) is None, damaged
    write_record(marker, {name: value for name, value in record.items() if name != "gates"})
    assert ledger.finished_part(piece) is None
