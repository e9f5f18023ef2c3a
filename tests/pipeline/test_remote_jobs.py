"""Web addresses in a run: what the user allowed reaches the workers, and a finished job asks nobody."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydub.errors import Code, RaydubError
from raydub.identity import identify
from raydub.manifests.job import Job
from raydub.pipeline import context
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished
from raydub.pipeline.ledger import Ledger
from raydub.stages.inputs import local_inputs
from raydub.stages.types import Part
from tests.media.web import OWN, Shelf, Web, serving
from tests.pipeline.fakes import RealToolbox
from tests.stages.fakes import PaintEngine, babble, write_video, write_wav


@pytest.fixture
def speech(tmp_path: Path) -> Iterator[Web]:
    with serving(Shelf(Path(write_wav(tmp_path / "a.wav", babble(0.4))).read_bytes())) as web:
        yield web


def asked_of(web: Web, tmp_path: Path) -> Job:
    video = write_video(tmp_path / "v.mp4", 10)
    return Job(id="far", video=video, audio=web.url("/a.wav?sig=hunter2"), output=str(tmp_path / "o.mp4"))


@pytest.mark.slow
def test_settings_take_the_drivers_leave_along(tmp_path: Path, speech: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "make_job_engine", lambda _: PaintEngine())
    job = asked_of(speech, tmp_path)
    monkeypatch.setenv("RAYDUB_ALLOW_SCHEMES", "http")
    monkeypatch.setenv("RAYDUB_ALLOW_PRIVATE", "1")
    allowed = WorkSettings(str(tmp_path / "work"), "run")
    # On a worker's node the environment says nothing; a worker that is told no asks nobody, whatever it says.
    monkeypatch.delenv("RAYDUB_ALLOW_SCHEMES")
    monkeypatch.delenv("RAYDUB_ALLOW_PRIVATE")
    forbidden = WorkSettings(str(tmp_path / "work"), "run")
    with pytest.raises(RaydubError) as refused:
        RealToolbox(forbidden).prepare(job)
    assert (refused.value.code, speech.hits) == (Code.URI_SCHEME, [])

    # As a child process gets them.
    tools = RealToolbox(WorkSettings(**{**dataclasses.asdict(allowed), "limits": allowed.limits}))
    planned, chunks = tools.prepare(job)
    assert len(speech.hits) == 1
    parts: list[Part] = []
    ledger = Ledger(str(tmp_path / "work"))
    for chunk in chunks:
        part = tools.render(tools.lipsync(tools.track(chunk)), str(ledger.store.temp(".mp4")))
        parts.append(ledger.publish_part(part))
    # The last step gets the job as the manifest has it, and still does not ask again.
    assert tools.stitch(job, planned.job_dir, parts) == (job.output, 10)
    assert len(speech.hits) == 1


def test_a_finished_job_knows_an_address_by_its_copy(tmp_path: Path, speech: Web) -> None:
    job, work = asked_of(speech, tmp_path), str(tmp_path / "work")
    Path(job.output).write_bytes(b"film")
    assert Finished(work).finished(job, []) is None
    local, _ = local_inputs(job, work, OWN)
    seen = {name: identify(path).sha256 for name, path in local.inputs().items()}
    plan = Planned(job.id, "/w/j", 1, 10, inputs=seen, key="k")
    Finished(work).write(job, [], plan, {"id": job.id, "status": "ok"})
    hits = len(speech.hits)
    assert Finished(work).finished(job, []) is not None
    assert len(speech.hits) == hits

    speech.answer = Shelf(b"RIFF another speech", '"two"')
    local_inputs(job, work, OWN)
    assert Finished(work).finished(job, []) is None
