"""The artefact store and the records of attempts in a bucket: as on a disk, for machines that share nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.blobs import verified
from raydub.errors import Code, InputError, StageError
from raydub.forgotten import forget_before
from raydub.identity import identify, look_of
from raydub.manifests.job import Job
from raydub.objects.bucket import bucket_of
from raydub.objects.copies import MARK, NEAR
from raydub.objects.counted import counted
from raydub.objects.near import copy_of, digest_of, pin
from raydub.objects.room import _files
from raydub.pipeline.attempts import Attempts, end_run, new_run_id, register_run, runs_in, start_run, sweep_runs
from raydub.pipeline.rows import pack, unpack
from raydub.present import from_text, present, to_text
from raydub.store import Store, moment
from tests.examples import examples

GONE = {"host": "elsewhere", "pid": 1, "node": "n1"}


@pytest.fixture
def elsewhere(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A function after which this process is on another machine: with another, empty cache."""
    count = iter(range(100))
    return lambda: monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / f"machine-{next(count)}"))


def test_what_one_machine_puts_another_gets(s3: str, elsewhere, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store = Store(f"{s3}/work/")
    kept = store.put("a/b", b"content", ".bin", {"n": [1, 2.5], "why": "naïve \ud800"})
    temp = store.temp(".mp4")
    temp.write_bytes(b"film")
    assert present(temp) == str(temp)
    store.put_file("parts/1", temp, {"frames": 3})
    assert not temp.exists()
    assert not list(temp.parent.iterdir())  # no note of its use, which nobody would remove
    assert store.get("a/b") == kept
    elsewhere()
    other = Store(f"{s3}/work")
    found = other.get("a/b")
    assert found is not None
    assert (found.sha256, found.about, found.path != kept.path) == (kept.sha256, kept.about, True)
    assert not Path(found.path).exists()
    assert verified(found.path).read_bytes() == b"content"
    assert other.names("") == ["a/b", "parts/1"]
    assert (other.names("parts"), other.names("part"), other.record("x")) == (["parts/1"], [], None)
    other.remove("a/b")
    assert store.get("a/b") is None
    assert other.is_tagged
    assert not Store(f"{s3}/else").is_tagged


def test_blobs_are_uploaded_once_and_a_lost_or_damaged_one_is_absent(s3: str, elsewhere) -> None:  # type: ignore[no-untyped-def]
    store, bucket = Store(f"{s3}/w"), bucket_of(s3)
    for name in "abc":
        kept = store.put(name, b"same", ".x")
    [blob] = [meta for meta in bucket.names("w/blobs")]
    bucket.delete(blob.key)
    assert store.get("a") is None
    store.put("d", b"same", ".x")
    assert store.get("a") is not None
    bucket.put(blob.key, b"evil")
    elsewhere()
    found = Store(f"{s3}/w").get("a")
    assert found is not None
    with pytest.raises(StageError) as caught:
        verified(found.path)
    assert caught.value.code is Code.STORAGE
    assert kept.sha256 in str(caught.value)
    assert Store(f"{s3}/w").get("a") is None


def test_a_record_that_was_changed_by_hand_is_absent(s3: str) -> None:
    store, bucket = Store(f"{s3}/w"), bucket_of(s3)
    store.put_record("r", {"n": 1})
    said = json.loads((bucket.get("w/refs/r.json") or (b"", None))[0])
    bucket.put("w/refs/r.json", json.dumps({**said, "n": 2}).encode())
    assert store.record("r") is None
    bucket.put("w/refs/r.json", b"<html>")
    assert store.record("r") is None


def test_work_before_a_moment_can_be_forgotten(s3: str) -> None:
    store = Store(f"{s3}/w")
    store.put_record("jobs/1/plan", {"n": 1})
    store.put_record("owners/1", {"n": 1})
    time.sleep(1.1)
    forget_before(f"{s3}/w/", moment(f"{s3}/w"))
    try:
        assert store.record("jobs/1/plan") is None
        assert store.record("owners/1") == {"n": 1}
        store.put_record("jobs/1/plan", {"n": 2})
        assert store.record("jobs/1/plan") == {"n": 2}
    finally:
        forget_before(f"{s3}/w", 0)


def test_an_input_is_pinned_and_a_change_has_a_name(s3: str, elsewhere) -> None:  # type: ignore[no-untyped-def]
    bucket, uri = bucket_of(s3), f"{s3}/in/a b 🎬.mp4"
    bucket.put("in/a b 🎬.mp4", b"one")
    first = pin(uri)
    copy = copy_of(first)
    assert Path(copy).name == "a b 🎬.mp4"
    assert not Path(copy).exists()
    assert Path(present(copy)).read_bytes() == b"one"
    seen = identify(copy)
    assert seen.sha256 == digest_of(copy) == identify(uri).sha256
    assert seen.look == look_of(copy) == look_of(uri) == first.look
    bucket.put("in/a b 🎬.mp4", b"two")
    assert look_of(copy) != seen.look
    with pytest.raises(InputError) as caught:
        identify(copy)
    assert caught.value.code is Code.INPUT_CHANGED
    assert uri in str(caught.value)
    assert identify(uri).sha256 != seen.sha256
    elsewhere()
    with pytest.raises(InputError) as caught:
        present(copy_of(first))
    assert caught.value.code is Code.INPUT_CHANGED
    bucket.delete("in/a b 🎬.mp4")
    with pytest.raises(FileNotFoundError):
        present(uri)
    with pytest.raises(InputError) as caught:
        pin(uri, "video")
    assert caught.value.code is Code.INPUT_MISSING


def test_paths_of_copies_are_translated_between_machines(s3: str, elsewhere) -> None:  # type: ignore[no-untyped-def]
    bucket_of(s3).put("in/a.mp4", b"film")
    store = Store(f"{s3}/w")
    kept, copy = store.put("x", b"blob", ".npy"), copy_of(pin(f"{s3}/in/a.mp4"))
    job = Job(id=f"{MARK}object:evil", video=copy, audio=kept.path, output=f"{s3}/out/a.mp4")
    store.put_record("plan", {"video": copy, "arrays": {"mel": [kept.path]}, "id": job.id, "folder": str(store.root)})
    row = pack(job)
    assert NEAR not in row["meta"]
    elsewhere()
    arrived = unpack(row)
    assert isinstance(arrived, Job)
    assert (arrived.id, arrived.output) == (job.id, job.output)
    assert arrived.video != copy
    assert Path(present(arrived.video)).read_bytes() == b"film"
    assert Path(present(arrived.audio or "")).read_bytes() == b"blob"
    said = Store(f"{s3}/w").record("plan")
    assert said is not None
    assert (said["video"], said["arrays"]["mel"], said["id"]) == (arrived.video, [arrived.audio], job.id)


@given(value=st.recursive(st.text() | st.integers() | st.just(MARK) | st.just(f"{MARK}blob:x"), st.lists))
@settings(max_examples=examples(50), deadline=None)
def test_all_other_text_goes_through_unchanged(value: object) -> None:
    assert from_text(to_text(value)) == value


def test_a_name_that_leaves_the_store_is_refused(s3: str) -> None:
    for name in ("blobs/../../x", "/etc/passwd", "refs/a.json", "blobs/a"):
        text = json.dumps(f"{MARK}blob:{json.dumps([f'{s3}/w', name])}")
        try:
            path = str(from_text(text))
        except ValueError:
            continue
        assert NEAR in path
        assert not Path(present(path)).exists()


def test_attempts_are_counted_and_only_unended_ones_are_deaths(s3: str) -> None:
    attempts = Attempts(f"{s3}/w", "run")
    first = attempts.begin("a", "render.000003", worker=GONE)
    first.end()
    second, third = (attempts.begin("a", "render.000003", worker={**GONE, "pid": pid}) for pid in (2, 3))
    second.overran(4.5)
    assert [first.number, second.number, third.number] == [1, 2, 3]
    deaths = attempts.deaths("a", "render.000003", lambda _: True)
    assert [(death["attempt"], death["pid"], death.get("overran")) for death in deaths] == [(2, 2, 4.5), (3, 3, None)]
    assert attempts.deaths("a", "render.000003", lambda _: False) == []
    assert (attempts.count("a", "render.000003"), attempts.count("a", "render.000004")) == (3, 0)
    assert not attempts.given_up("a")
    attempts.give_up("a")
    assert attempts.given_up("a")
    assert not attempts.given_up("b")
    attempts.forgive()
    assert attempts.deaths("a", "render.000003", lambda _: True) == []


def test_runs_are_registered_swept_and_ended(s3: str) -> None:
    work, mine, dead = f"{s3}/w", new_run_id(), new_run_id()
    start_run(work, mine, {"rows": 1})
    register_run(work, dead, {"pid": 999999999, "born": ""})
    Attempts(work, mine).begin("a", "prepare", worker=GONE)
    assert set(runs_in(work)) == {mine, dead}
    assert sweep_runs(work) == []  # the dead one is of an unknown place, and young
    end_run(work, mine)
    assert runs_in(work) == [dead]


def test_a_copy_that_was_damaged_on_the_disk_is_fetched_again(s3: str) -> None:
    bucket = bucket_of(s3)
    bucket.put("in/a.mp4", b"film" * 100)
    copy = Path(copy_of(pin(f"{s3}/in/a.mp4")))
    digest = digest_of(str(copy))
    for damage in (b"film", b"FILM" * 100, b""):
        copy.write_bytes(damage)
        assert Path(present(copy)).read_bytes() == b"film" * 100
        assert digest_of(str(copy)) == digest
    Path(f"{copy}.sha256").unlink()
    assert digest_of(str(copy)) == digest
    before = counted().requests
    assert digest_of(str(copy)) == digest
    assert counted().requests == before


def test_a_blob_that_was_damaged_on_the_disk_is_fetched_again(s3: str) -> None:
    store = Store(f"{s3}/w")
    kept = store.put("a", b"content", ".x")
    for damage in (b"con", b"CONTENT"):
        Path(kept.path).write_bytes(damage)
        assert verified(kept.path).read_bytes() == b"content"
        Path(kept.path).write_bytes(damage)
        found = store.get("a")
        assert found is not None
        assert Path(present(found.path)).read_bytes() == b"content"


def test_names_of_inputs_do_not_meet_those_of_the_cache(s3: str) -> None:
    for name in ("a.used", "a.sha256", "x" * 1000, "é" * 300 + ".mp4"):
        bucket_of(s3).put(f"in/{name}", name.encode())
        assert Path(present(f"{s3}/in/{name}")).read_bytes() == name.encode()
    cache_root = Path(present(f"{s3}/in/a.used")).parents[2]
    evicted = [path for _, _, path in _files(cache_root)]
    assert sorted(Path(path).read_bytes()[:1] for path in evicted) == [b"a", b"a", b"x", "é".encode()[:1]]
