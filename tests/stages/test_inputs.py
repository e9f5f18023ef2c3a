"""Jobs whose inputs lie on a web server, from the address to the published film."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from raydub.errors import Code, RaydubError, StageError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.media.mux import check_output
from raydub.stages.inputs import local_inputs
from raydub.stages.job_plan import load_plan
from raydub.stages.prepare import prepare_job
from raydub.stages.stitch import stitch_job
from tests.examples import slow
from tests.media.web import OWN, Request, serving
from tests.stages.fakes import PaintEngine, babble, make_plan, write_video, write_wav
from tests.stages.test_job import parts_of

SECRET = "sig=hunter2"


def library(folder: Path) -> Callable[[Request], None]:
    """Answers with the files in `folder`."""

    def answer(request: Request) -> None:
        path = folder / request.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            request.send(404)
        elif request.headers.get("If-None-Match") == '"1"':
            request.send(304, b"", {"ETag": '"1"'})
        else:
            request.send(200, path.read_bytes(), {"ETag": '"1"'})

    return answer


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    write_video(folder / "v.mp4", 12)
    write_wav(folder / "a.wav", babble(0.48))
    return folder


def test_a_job_from_addresses_is_the_job_from_files(tmp_path: Path, shelf: Path) -> None:
    engine, work = PaintEngine(), tmp_path / "work"
    work.mkdir()
    with serving(library(shelf)) as web:
        video, audio = web.url(f"/v.mp4?{SECRET}"), web.url("/a.wav")
        job = Job(id="far", video=video, audio=audio, output=str(tmp_path / "out" / "o.mp4"))
        plan = prepare_job(job, str(work), engine, OWN)
        again = prepare_job(job, str(work), engine, OWN)
        assert len(web.hits) == 4
        assert again.job_dir == plan.job_dir
    near = make_plan(tmp_path, engine, str(shelf / "v.mp4"), str(shelf / "a.wav"))
    # The key is made of the content: fetched or copied, it is the same job.
    assert (near.content_key, near.chunk_keys) == (plan.content_key, plan.chunk_keys)
    assert plan.video.path.startswith(str(work / "blobs"))
    assert Path(plan.job.audio).is_file()
    assert "hunter2" not in json.dumps(plan.model_dump(mode="json"))
    assert load_plan(plan.job_dir).job.id == "far"
    done = stitch_job(plan, parts_of(plan, engine))
    check_output(done.output, 12, Fraction(25))


def test_errors_speak_of_the_address(tmp_path: Path, shelf: Path) -> None:
    (shelf / "v.mp4").write_bytes(b"#EXTM3U\nfile:///etc/passwd\n")
    with serving(library(shelf)) as web:
        job = Job(id="x", video=web.url(f"/v.mp4?{SECRET}"), audio=web.url("/none.wav"), output=str(tmp_path / "o.mp4"))
        with pytest.raises(RaydubError) as refused:
            prepare_job(job, str(tmp_path), PaintEngine(), OWN)
        assert (refused.value.code, refused.value.job) == (Code.INPUT_MISSING, "x")
        job = job.model_copy(update={"audio": str(shelf / "a.wav")})
        with pytest.raises(RaydubError) as refused:
            prepare_job(job, str(tmp_path), PaintEngine(), OWN)
        assert refused.value.code is Code.INPUT_PLAYLIST
        assert web.url("/v.mp4") in refused.value.message
        assert "hunter2" not in str(refused.value)


def test_one_address_is_asked_once_a_job(tmp_path: Path, shelf: Path) -> None:
    with serving(library(shelf)) as web:
        url = web.url("/v.mp4")
        job = Job(id="x", video=url, audio=url, output="/o.mp4", options=Options(face=f"reference:{url}"))
        local, doubts = local_inputs(job, str(tmp_path), OWN)
        assert len(web.hits) == 1
        assert local.video == local.audio == local.options.face.removeprefix("reference:")
        assert doubts == ()
        web.answer = lambda request: request.send(403)
        again, doubts = local_inputs(job, str(tmp_path), OWN)
        assert again == local
        assert [doubt.partition(":")[0] for doubt in doubts] == ["W_REMOTE_UNCHECKED"]


def test_without_leave_nobody_is_asked(tmp_path: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYDUB_ALLOW_SCHEMES", "http")
    monkeypatch.delenv("RAYDUB_ALLOW_PRIVATE", raising=False)
    with serving(library(shelf)) as web:
        job = Job(id="x", video=web.url("/v.mp4"), audio=str(shelf / "a.wav"), output="/o.mp4")
        with pytest.raises(RaydubError) as refused:
            prepare_job(job, str(tmp_path), PaintEngine())
        assert (refused.value.code, web.hits) == (Code.URI_DENIED, [])


@pytest.mark.parametrize(
    "place", ["refs/jobs/k/x.mp4", "blobs/ab/x.mp4", "fetching/k/x.mp4", "tmp/x.mp4", "runs/o.mp4"]
)
def test_no_output_among_the_work_folders_own_files(tmp_path: Path, place: str) -> None:
    job = Job(id="x", video="/v.mp4", audio="/a.wav", output=str(tmp_path / place))
    with pytest.raises(StageError) as refused:
        local_inputs(job, str(tmp_path))
    assert refused.value.code is Code.OUTPUT_ESCAPES
    # The output root may be the work folder all the same.
    assert local_inputs(job.model_copy(update={"output": str(tmp_path / "o.mp4")}), str(tmp_path))[1] == ()


def test_a_folder_swapped_after_the_check_is_not_followed(tmp_path: Path) -> None:
    engine, outside = PaintEngine(), tmp_path / "outside"
    outside.mkdir()
    audio = write_wav(tmp_path / "a.wav", babble(0.4))
    plan = make_plan(tmp_path, engine, write_video(tmp_path / "v.mp4", 10), audio)
    root = tmp_path / "out"
    plan = plan.model_copy(
        update={"job": plan.job.model_copy(update={"output": str(root / "a" / "o.mp4"), "output_root": str(root)})}
    )
    parts = parts_of(plan, engine)
    stitch_job(plan, parts)
    shutil.rmtree(root / "a")
    (root / "a").symlink_to(outside)
    with pytest.raises(StageError) as refused:
        stitch_job(plan, parts)
    assert (refused.value.code, refused.value.job) == (Code.OUTPUT_ESCAPES, "job")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "name", [slow("-y.mp4"), slow("file:o.mp4"), "12:30 %d 'x' \"y\" [in];,|é.mp4", slow("concat:a|b.mkv")]
)
def test_names_are_no_words_of_ffmpegs_language(tmp_path: Path, name: str) -> None:
    engine, folder = PaintEngine(), tmp_path / "-i"
    folder.mkdir()
    audio = write_wav(folder / f"{name}.wav", babble(0.4))
    plan = make_plan(tmp_path, engine, write_video(folder / f"in {name[:-4]}.mp4", 10), audio)
    output = tmp_path / "out" / name
    plan = plan.model_copy(update={"job": plan.job.model_copy(update={"output": str(output)})})
    done = stitch_job(plan, parts_of(plan, engine))
    check_output(done.output, 10, Fraction(25))
    assert [path.name for path in output.parent.iterdir()] == [name]
