"""Cleaning a work folder: what goes, what stays, and that no run loses anything under its hands."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from raydub.errors import Code, StageError, UsageError
from raydub.identity import identify
from raydub.pipeline import clean as cleaning
from raydub.pipeline.attempts import DEAD_RUN_DAYS, end_run, new_run_id, run_dir, start_run
from raydub.pipeline.clean import clean, refuse_while_cleaned
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished, job_dir_of
from raydub.pipeline.ledger import Ledger
from raydub.stages.job_plan import chunks_of, load_plan, save_plan
from raydub.stages.output import may_replace, note_made
from raydub.stages.types import Gate
from raydub.store import TAG, Store
from tests.kept import files_in
from tests.pipeline.test_timeline import cue, finished

RUN, CLEANING = new_run_id(), new_run_id("clean-")


def job(folder: Path, name: str, done: bool) -> str:
    """A job with its parts and speech; done: its output is published and recorded."""
    job_dir = finished(folder, [cue(1, 0.4, 1.2)], [Gate(0, 10, 30, 1.0)], name=name)
    plan = load_plan(job_dir)
    save_plan(plan.model_copy(update={"faces": plan.faces.model_copy(update={"track_key": name})}))
    Store(folder / "work").put_record(f"speech/{name}/tracks", plan.job.speech.model_dump(mode="json"))  # type: ignore[union-attr]
    Store(folder / "work").put(f"tracks/{name}/000000", name.encode(), ".parquet")
    if done:
        output = Path(plan.job.output)
        output.write_bytes(name.encode())
        note_made(plan.job, Store(folder / "work"), identify(output).sha256)
        planned = Planned(name, job_dir, 4, 100, key=plan.key)
        Finished(folder / "work").write(plan.job, [], planned, {"id": name, "job_dir": job_dir})
    return job_dir


def kept_in(work: Path) -> list[Path]:
    """All files, but notes of what files hold: whoever looks at a file may take one."""
    return [path for path in files_in(work) if "identities" not in path.parts]


def parts(job_dir: str, work: Path) -> int:
    return len(Ledger(str(work)).finished_parts(chunks_of(load_plan(job_dir))))


def test_what_only_finished_jobs_have_goes(tmp_path: Path) -> None:
    work, store = tmp_path / "work", Store(tmp_path / "work")
    ready, half = job(tmp_path, "ready", True), job(tmp_path, "half", False)
    asked = load_plan(ready).job
    count = parts(half, work)
    before = kept_in(work)
    said = clean(work, dry_run=True)
    assert kept_in(work) == before
    assert (said.records["parts"], said.records["jobs"], said.size > 0) == (4, 1, True)
    freed = clean(work)
    assert (freed.records, freed.blobs, freed.size) == (said.records, said.blobs, said.size)
    with pytest.raises(StageError):
        load_plan(ready)
    assert parts(half, work) == count == 4
    names = store.names("")
    assert {"jobs/half/plan", "speech/half/tracks", "tracks/half/000000"} <= set(names)
    assert not [name for name in names if "/ready/" in name]
    # The next run still knows what is finished and whose the output is.
    assert Finished(work).stands(asked)
    assert may_replace(asked, store)
    assert clean(work).size == 0


def test_a_job_whose_output_is_gone_keeps_all(tmp_path: Path) -> None:
    folder = job(tmp_path, "ready", True)
    Path(load_plan(folder).job.output).unlink()
    assert clean(tmp_path / "work").size == 0
    assert parts(folder, tmp_path / "work") == 4


def test_everything_but_who_made_what(tmp_path: Path) -> None:
    work = tmp_path / "work"
    asked = load_plan(job(tmp_path, "ready", True)).job
    job(tmp_path, "half", False)
    clean(work, everything=True)
    assert {name.partition("/")[0] for name in Store(work).names("")} <= set(cleaning.KEPT)
    assert list((work / "blobs").iterdir()) == []
    assert Finished(work).stands(asked)


def test_bytes_without_a_record_go_when_they_are_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once: their record may be on its way."""
    store = Store(tmp_path / "work")
    lost = store.put("parts/x", b"lost", ".mp4")
    kept = store.put("parts/y", b"kept", ".mp4")
    store.remove("parts/x")
    assert clean(store.root).size == 0
    assert Path(lost.path).exists()
    monkeypatch.setattr(cleaning, "_LATE", -1.0)
    freed = clean(store.root)
    assert (dict(freed.blobs), freed.size) == ({"unnamed": 1}, 4)
    assert not Path(lost.path).exists()
    assert store.get("parts/y") == kept


def test_a_run_that_lives_holds_its_folder(tmp_path: Path) -> None:
    work = tmp_path / "work"
    job(tmp_path, "ready", True)
    start_run(work, RUN, {})
    before = kept_in(work)
    with pytest.raises(UsageError) as refused:
        clean(work, everything=True)
    assert refused.value.code is Code.OUTPUT_BUSY
    assert str(os.getpid()) in refused.value.message
    assert kept_in(work) == before
    end_run(work, RUN)
    assert clean(work).size > 0
    assert list(run_dir(work, "").iterdir()) == []


def test_a_run_that_begins_while_a_folder_is_cleaned_waits(tmp_path: Path) -> None:
    work = tmp_path / "work"
    start_run(work, CLEANING, {"cleaning": True})
    start_run(work, RUN, {})
    with pytest.raises(StageError) as refused:
        refuse_while_cleaned(work)
    assert refused.value.retryable
    end_run(work, CLEANING)
    refuse_while_cleaned(work)


def test_the_job_of_an_output_is_known(tmp_path: Path) -> None:
    folder = job(tmp_path, "ready", True)
    assert job_dir_of(tmp_path / "ready.mp4", tmp_path / "work") == folder
    assert job_dir_of(tmp_path / "other.mp4", tmp_path / "work") is None


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    """Image layouts and git repositories have folders of these names too."""
    layer, branch = tmp_path / "blobs" / "ab" / ("ab" * 32), tmp_path / "refs" / "heads" / "feature.json"
    for path in (layer, branch):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"theirs")
    for tag in (None, b"Signature: 8a477f597d28d172789f06886806bc55\n# This folder is another program's cache.\n"):
        if tag is not None:
            (tmp_path / TAG).write_bytes(tag)
        with pytest.raises(UsageError, match="not a work folder") as refused:
            clean(tmp_path, everything=True)
        assert refused.value.code is Code.FIELD_VALUE
        assert layer.exists()
        assert branch.exists()
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["refs", "blobs", "runs", "tmp"])
def test_links_are_not_followed(tmp_path: Path, name: str) -> None:
    work, victim = tmp_path / "work", tmp_path / "victim"
    Store(work).put("parts/x", b"x", ".mp4")
    (victim / "ab").mkdir(parents=True)
    theirs = [victim / "ab" / ("ab" * 32), victim / "a.json"]
    for path in theirs:
        path.write_bytes(b"theirs")
    shutil.rmtree(work / name, ignore_errors=True)
    (work / name).symlink_to(victim)
    with pytest.raises(UsageError, match="is a link"):
        clean(work, everything=True)
    assert all(path.exists() for path in theirs)


def test_a_dry_run_removes_nothing(tmp_path: Path) -> None:
    work = tmp_path / "work"
    job(tmp_path, "ready", True)
    start_run(work, RUN, {"host": "elsewhere", "pid": 1})
    long_ago = time.time() - (DEAD_RUN_DAYS + 1) * 86400
    for path in [run_dir(work, RUN), *run_dir(work, RUN).rglob("*")]:
        os.utime(path, (long_ago, long_ago))
    before = kept_in(work)
    assert clean(work, dry_run=True).size > 0
    assert kept_in(work) == before
    assert clean(work).size > 0
    assert not run_dir(work, RUN).exists()


def test_a_pipe_among_the_records_does_not_stop_it(tmp_path: Path) -> None:
    Store(tmp_path).put("parts/x", b"x", ".mp4")
    os.mkfifo(tmp_path / "refs" / "parts" / "pipe.json")
    clean(tmp_path, everything=True)
    assert Store(tmp_path).names("parts") == []


def test_films_of_reports_go(tmp_path: Path) -> None:
    store = Store(tmp_path / "work")
    kept = store.put("previews/ab/abc", b"film", ".mp4")
    freed = clean(tmp_path / "work")
    assert freed.records == {"previews": 1}
    assert not Path(kept.path).exists()
