"""Claims on outputs in buckets: one driver at a time, and a dead one does not keep its claim."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest

from raydub.errors import Code, StageError
from raydub.manifests.job import Job
from raydub.objects.bucket import bucket_of
from raydub.pipeline import leases
from raydub.pipeline.leases import Leases, holds, refuse_lost
from raydub.pipeline.locks import RunLock
from raydub.stages.output import note_made, publish_output
from raydub.store import Store
from tests.objects.proxy import Proxy


def lease_of_a_stranger(s3: str, run: str) -> None:
    """The lease of a run on a machine that is not known here."""
    said = {"host": "elsewhere", "pid": 1, "born": "0:0:0", "at": 0.0}
    bucket_of(s3).put(f"out/{leases.FOLDER}/runs/{run}.json", json.dumps(said).encode())


def claim_of(output: str, run: str) -> None:
    place, name = leases._claim(output)
    place.write(name, json.dumps({"run": run}).encode())


def test_a_claim_is_for_one_run(s3: str, tmp_path: Path) -> None:
    output, other = f"{s3}/out/a b.mp4", f"{s3}/out/sub/b.mp4"
    with RunLock() as first, RunLock() as second:
        assert first.lock([output, str(tmp_path / "x.mp4")]) == {}
        assert second.lock([output, other]) == {output: None}
        assert first.lock([output]) == {}
        assert (holds(output, first.owner), holds(output, second.owner)) == (True, False)
    with RunLock() as third:
        assert third.lock([output, other]) == {}
    assert list(bucket_of(s3).names("")) == []


def test_two_runs_at_once_share_the_outputs_without_doubles(s3: str) -> None:
    outputs = [f"{s3}/out/{number}.mp4" for number in range(40)]
    one, two = Leases("one"), Leases("two")
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        refused = list(pool.map(lambda lease: lease.claim(outputs), (one, two)))
    won = [set(outputs) - set(lost) for lost in refused]
    assert won[0] | won[1] == set(outputs)
    assert not won[0] & won[1]
    assert all(holds(output, "one") for output in won[0])
    one.close()
    two.close()


def test_a_run_that_died_here_loses_its_claim_at_once(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_LOOK_EVERY", 1000.0)
    output, dead = f"{s3}/out/a.mp4", Leases("dead")
    monkeypatch.setattr(dead, "_said", lambda: {**Leases("x")._said(), "pid": 999999999})
    assert dead.claim([output]) == {}
    following = Leases("next")
    assert following.claim([output]) == {}
    assert not holds(output, "dead")
    with pytest.raises(StageError) as caught:
        refuse_lost(output, "dead")
    assert caught.value.code is Code.OUTPUT_BUSY
    dead.close()
    assert holds(output, "next")
    following.close()


def test_a_run_elsewhere_keeps_its_claim_until_its_lease_expires(
    s3: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    output = f"{s3}/out/a.mp4"
    lease_of_a_stranger(s3, "far")
    claim_of(output, "far")
    waits: list[float] = []

    def written_again(seconds: float) -> None:
        waits.append(seconds)
        bucket_of(s3).put(f"out/{leases.FOLDER}/runs/far.json", b'{"host": "elsewhere", "at": 1.0}')

    monkeypatch.setattr(leases.time, "sleep", written_again)
    near = Leases("near")
    with caplog.at_level("WARNING"):
        assert near.claim([output]) == {output: None}
    assert waits
    assert [record.message for record in caplog.records if "waiting up to 60 s" in record.message]
    near.close()
    monkeypatch.undo()


def test_an_expired_or_absent_lease_is_void(s3: str, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(moto_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        _expired_or_absent(s3, monkeypatch)
        beside = f"{s3[5:]}/out/{leases.FOLDER}/"
        assert all(key.startswith(beside) for key in proxy.keys if key.startswith(f"{s3[5:]}/out/"))


def _expired_or_absent(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    output = f"{s3}/out/a.mp4"
    claim_of(output, "gone")
    mine = Leases("mine")
    assert mine.claim([output]) == {}
    mine.close()
    lease_of_a_stranger(s3, "silent")
    claim_of(output, "silent")
    monkeypatch.setattr(leases, "EXPIRED", -5.0)
    again = Leases("again")
    assert again.claim([output]) == {}
    again.close()
    assert list(bucket_of(s3).names("")) == []  # not even the lease of the dead run


def test_a_damaged_claim_is_replaced(s3: str) -> None:
    output = f"{s3}/out/a.mp4"
    place, name = leases._claim(output)
    place.write(name, b"\xff<html>")
    mine = Leases("mine")
    assert mine.claim([output]) == {}
    mine.close()


def test_a_bucket_that_cannot_be_written_is_an_error_of_the_job(s3: str) -> None:
    found = Leases("mine").claim(["s3://no-such-bucket-here/out/a.mp4"])
    [problem] = found.values()
    assert problem is not None
    assert problem.code is Code.BUCKET_MISSING


def test_a_run_whose_lease_was_ended_knows_and_does_not_make_it_again(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    output, frozen = f"{s3}/out/a.mp4", Leases("frozen")
    monkeypatch.setattr(frozen, "_said", lambda: {"host": "elsewhere", "pid": 1, "born": "0:0:0", "at": 0.0})
    assert frozen.claim([output]) == {}
    assert not frozen.lost()
    monkeypatch.setattr(leases, "EXPIRED", -5.0)
    following = Leases("next")
    assert following.claim([output]) == {}
    assert frozen.lost() == {f"{s3}/out"}
    assert not following.lost()
    assert not any("frozen" in meta.key for meta in bucket_of(s3).names("out"))
    frozen.close()
    assert holds(output, "next")
    following.close()
    assert list(bucket_of(s3).names("")) == []


def test_a_run_that_wakes_up_while_its_lease_is_looked_at_keeps_it(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydub.objects.prefix import Prefix

    output, slow = f"{s3}/out/a.mp4", Leases("slow")
    monkeypatch.setattr(slow, "_said", lambda: {"host": "elsewhere", "pid": 1, "born": "0:0:0", "at": time.time()})
    assert slow.claim([output]) == {}
    monkeypatch.setattr(leases, "EXPIRED", -5.0)
    before = Prefix.replace

    def wakes(self: Prefix, name: str, data: bytes, etag: str) -> object:
        if data == b"{}":
            monkeypatch.setattr(Prefix, "replace", before)
            assert not slow.lost()  # its beat comes between the look and the end
            monkeypatch.setattr(leases, "EXPIRED", 60.0)
            monkeypatch.setattr(leases.time, "sleep", lambda _: slow.lost())
        return before(self, name, data, etag)

    monkeypatch.setattr(Prefix, "replace", wakes)
    following = Leases("next")
    assert following.claim([output]) == {output: None}
    assert holds(output, "slow")
    for one in (slow, following):
        one.close()


def test_what_was_lost_between_check_and_write_is_not_written(s3: str, tmp_path: Path) -> None:
    """The run is frozen after its first check; meanwhile another one takes over and publishes."""
    output, bucket = f"{s3}/out/a.mp4", bucket_of(s3)
    job = Job(id="a", video="/v.mp4", audio="/a.wav", output=output)
    store, temp = Store(f"{s3}/w"), tmp_path / "film.mp4"
    temp.write_bytes(b"first")
    calls: list[int] = []

    def allowed() -> None:
        calls.append(1)
        refuse_lost(output, "first")
        if len(calls) == 1:
            claim_of(output, "second")
            note_made(job, store, hashlib.sha256(b"second").hexdigest())
            bucket.put("out/a.mp4", b"second")

    claim_of(output, "first")
    with pytest.raises(StageError) as caught:
        publish_output(str(temp), job, f"{s3}/out", store, allowed)
    assert caught.value.code is Code.OUTPUT_BUSY
    assert bucket.get_range("out/a.mp4", 0, 9) == b"second"
