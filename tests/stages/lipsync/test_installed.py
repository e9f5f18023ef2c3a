"""Lip engines of other packages: by name in a manifest, through raydub.dub, in keys, and when they misbehave."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raydub
from raydub.errors import Code, DependencyError, RaydubError, StageError, UsageError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.rows import parse_options, parse_row
from raydub.media.frames import Frame, open_frames
from raydub.media.info import Colour
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr
from raydub.pipeline.engines import engine_key, make_job_engine, weights_digests
from raydub.stages.arrays import Clip, Mouths, render
from raydub.stages.engine import DrawItem, EngineRequest, Speech
from raydub.stages.lipsync.installed import InstalledEngine, release_of
from raydub.stages.prepare import prepare_job
from raydub.stages.types import FaceItems
from tests.cluster.clips import make_clip, make_speech
from tests.stages.lipsync.painted import install


@pytest.fixture
def painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path / "site", monkeypatch)
    return tmp_path / "site"


def items(n: int) -> FaceItems:
    return FaceItems(
        frame=np.arange(n, dtype=np.int32),
        source=np.arange(n, dtype=np.int32),
        face=np.zeros(n, np.int32),
        box=np.tile(np.array([10, 10, 50, 50], np.float32), (n, 1)),
        landmarks=np.tile(np.linspace(20, 40, 136, dtype=np.float32).reshape(1, 68, 2), (n, 1, 1)),
        gate=np.ones(n, np.float32),
        crops=np.zeros((0, 96, 96, 3), np.uint8),
    )


@pytest.mark.usefixtures("painted")
def test_a_manifest_names_it_with_its_own_options(tmp_path: Path) -> None:
    row = {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4", "engine": "Painted"}
    for said in ({"bgr": [1, 2, 3], "odd": None}, '{"bgr": [1, 2, 3]}'):
        job = parse_row({**row, "engine_options": said}, tmp_path, tmp_path)
        assert isinstance(job, Job)
        assert (job.options.engine, job.options.engine_options) == ("painted", '{"bgr": [1, 2, 3]}')
        again = parse_row(job.row(), tmp_path, tmp_path)
        assert isinstance(again, Job)
        assert again.options == job.options
    for options, field, words in (
        ({"engine": "paint"}, "engine", "painted"),
        ({"engine": "painted", "engine_options": "[1]"}, "engine_options", "JSON object"),
        ({"engine": "painted", "engine_options": {"a": float("nan")}}, "engine_options", "JSON object"),
        ({"engine_options": {"bgr": 1}}, "engine_options", "leave"),
    ):
        [problem] = parse_options(options, tmp_path)[1]
        assert (problem.field, words in problem.hint) == (field, True), problem


@pytest.mark.usefixtures("painted")
def test_keys_know_release_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(engine="painted")
    blue = Options(engine="painted", engine_options='{"bgr": [255, 0, 0]}')
    assert release_of("painted") == "painted-lips 1.0"
    assert weights_digests(options) == ("painted-lips 1.0",)
    assert engine_key(options) != engine_key(blue)
    make_clip(tmp_path / "v.mp4", 0.4)
    make_speech(tmp_path / "a.wav", 0.4)

    def keys(asked: Options) -> tuple[str, ...]:
        job = Job(id="j", video=str(tmp_path / "v.mp4"), audio=str(tmp_path / "a.wav"), output="/o.mp4", options=asked)
        return prepare_job(job, str(tmp_path / "work"), make_job_engine(asked)).chunk_keys

    first = keys(options)
    assert keys(options) == first
    assert not set(keys(blue)) & set(first)
    install(tmp_path / "site", monkeypatch, version="1.1")
    assert weights_digests(options) == ("painted-lips 1.1",)
    assert not set(keys(options)) & set(first)


@pytest.mark.slow
@pytest.mark.usefixtures("painted")
def test_dub_draws_with_it(tmp_path: Path) -> None:
    video = make_clip(tmp_path / "v.mp4", 0.4)
    audio = make_speech(tmp_path / "a.wav", 0.4)
    more: dict[str, Any] = {"audio": audio, "output": tmp_path / "o.mp4", "engine": "painted", "masking": "always"}
    done = raydub.dub(video, **more, engine_options={"bgr": [255, 0, 0]}, crf=4).raise_for_status()
    assert (done.record.engine, done.synthesised) == ("painted", 10)
    pictures = []
    for path in (video, tmp_path / "o.mp4"):
        with open_frames(probe_video(str(path))) as reader:
            pictures.append([to_bgr(frame).astype(int) for frame in reader.frames(0, 10)])
    for before, after in zip(*pictures, strict=True):
        painted = (after[..., 0] > 180) & (after[..., 1:] < 80).all(axis=-1)
        assert painted.sum() > 100
        assert ((before[..., 0] > 180) & (before[..., 1:] < 80).all(axis=-1)).sum() == 0
    assert raydub.dub(video, **more, engine_options={"bgr": [255, 0, 0]}, crf=4).earlier
    failed = raydub.dub(video, **more, engine_options={"odd": "raises"})
    assert failed.error is not None
    assert failed.error.code is Code.INTERNAL
    assert "'painted' of painted-lips 1.0 failed in infer: KeyError: 'what it looked for'" in failed.error.message
    assert "painted-lips" in failed.error.hint
    refused = raydub.dub(video, **more, engine_options={"colour": 1})
    assert refused.error is not None
    assert "painted has no colour" in refused.error.message


def test_engines_that_cannot_be_used_are_named(painted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, words in (
        ("no-engine", "it lacks weights, load, prepare, hears, infer, draw, needs_crops"),
        ("broken", "RuntimeError: no device today"),
        ("no-module", "there is no module 'absent_lips'"),
    ):
        with pytest.raises(DependencyError, match=f"'{name}' of painted-lips") as refused:
            make_job_engine(Options(engine=name))
        assert words in str(refused.value)
    with pytest.raises(UsageError, match="no lip engine"):
        InstalledEngine(EngineRequest("nobody"))
    assert make_job_engine(Options(engine="warp")).name == "warp"  # raydub's own cannot be replaced
    assert not isinstance(make_job_engine(Options(engine="warp")), InstalledEngine)
    from raydub.cluster.checks import _embedded

    check = _embedded()
    assert check.state == "note"
    assert "painted (painted-lips 1.0)" in check.found
    assert "absent_lips" in check.hint
    install(painted.parent / "other", monkeypatch, module="more_lips")
    with pytest.raises(DependencyError, match="more-lips, painted-lips"):
        release_of("painted")


def test_the_engine_of_the_document_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = Path(__file__).resolve().parents[3] / "docs" / "engines.md"
    [source] = re.findall(r"```python\n(import numpy.+?)```", document.read_text(), re.DOTALL)
    install(tmp_path / "site", monkeypatch, module="document_lips", source=source)
    engine = make_job_engine(Options(engine="painted", engine_options='{"bgr": [1, 2, 3]}'))
    clip = Clip(np.full((2, 64, 64, 3), 99, np.uint8))
    rows = items(2)
    made = engine.infer(rows, Speech(np.zeros((80, 100), np.float32), clip.rate, 2))
    changed = render(clip, Mouths(engine, rows, made)) != clip.frames
    assert changed.any(axis=(1, 2, 3)).all()
    with pytest.raises(UsageError, match="painted has no option colour"):
        make_job_engine(Options(engine="painted", engine_options='{"colour": 1}'))


@pytest.mark.usefixtures("painted")
def test_what_an_engine_must_not_return_is_its_error() -> None:
    frame = Frame(
        0,
        np.zeros((64, 64), np.uint8),
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32), np.uint8),
        Colour(matrix="bt601"),
    )
    rows = items(2)
    item = DrawItem(0, 0, 0, rows.box[0], rows.landmarks[0])
    speech = Speech(np.zeros((80, 100), np.float32), Fraction(25), 10)
    good = InstalledEngine(EngineRequest("painted"))
    patch = good.draw(frame, item, {}, {})
    assert patch is not None
    assert patch.bgr[0, 0].tolist() == [40, 40, 240]
    assert good.infer(rows, speech)["loud"].shape == (2,)
    with pytest.raises(StageError, match=r"failed in infer: loud has shape \(3,\) for 2 faces"):
        InstalledEngine(EngineRequest("painted", options={"odd": "rows"})).infer(rows, speech)
    with pytest.raises(StageError, match="failed in draw: box"):
        InstalledEngine(EngineRequest("painted", options={"odd": "box"})).draw(frame, item, {}, {})
    for method, answer, call in (
        ("weights", ["w"], lambda engine: engine.weights()),
        ("hears", (1, -1), lambda engine: engine.hears(Fraction(25))),
        ("hears", None, lambda engine: engine.hears(Fraction(25))),
        ("prepare", [1], lambda engine: engine.prepare(None)),
        ("prepare", {"a": np.array([None])}, lambda engine: engine.prepare(None)),
        ("draw", "a patch", lambda engine: engine.draw(frame, item, {}, {})),
    ):
        odd = InstalledEngine(EngineRequest("painted"))
        setattr(odd._engine, method, lambda *_, answer=answer: answer)
        with pytest.raises(RaydubError, match=f"failed in {method}"):
            call(odd)
