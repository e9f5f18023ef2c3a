"""Claims on outputs in buckets: one driver at a time, and a dead one does not keep its claim."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raydub.errors import Code, StageError
from raydub.objects.bucket import bucket_of
from raydub.pipeline import leases
from raydub.pipeline.leases import Leases, holds, refuse_lost
from raydub.pipeline.locks import RunLock


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
        from raydub.objects.prefix import Prefix

        waits.append(seconds)
        before = Prefix.modified
        monkeypatch.setattr(Prefix, "modified", lambda self, name: (before(self, name) or 0.0) + 1.0)

    monkeypatch.setattr(leases.time, "sleep", written_again)
    near = Leases("near")
    with caplog.at_level("WARNING"):
        assert near.claim([output]) == {output: None}
    assert waits
    assert [record.message for record in caplog.records if "waiting up to 60 s" in record.message]
    near.close()
    monkeypatch.undo()


def test_an_expired_or_absent_lease_is_void(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
