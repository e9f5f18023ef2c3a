"""The Python API: the driver of the commands, without anything that a notebook or a service would not want."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import raydub
from raydub.cluster.api_arguments import fields_of, rows_of
from raydub.errors import Code, UsageError
from raydub.manifests.results import read_results
from raydub.media.writer import count_frames
from tests.cluster.clips import make_clip, make_speech

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_clip(folder / "clip.mp4", 1.0)
    make_speech(folder / "en.wav", 0.8)
    return folder


@pytest.mark.slow
def test_dub_in_a_thread_leaves_nothing_behind(inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    signals = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    environment = dict(os.environ)
    told: list[raydub.Progress] = []
    found: list[raydub.Result] = []

    def work() -> None:
        found.append(
            raydub.dub(
                inputs / "clip.mp4",
                audio=inputs / "en.wav",
                output=tmp_path / "o.mp4",
                accept_license=["some-licence"],
                progress=told.append,
                chunk_seconds=0.5,
            )
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    [result] = found
    assert result.raise_for_status() is result
    assert (result.status, result.output, result.error, result.earlier) == ("ok", tmp_path / "o.mp4", None, False)
    assert result.frames == count_frames(str(tmp_path / "o.mp4")) == 20
    assert result.synthesised > 0
    assert result.seconds > 0
    events = [one.event for one in told]
    assert [event for event in events if event != "working"] == ["planned", "part", "part", "finished"]
    assert told[-1].result == result
    assert (told[-1].jobs, told[-1].jobs_done, told[-1].frames_done) == (1, 1, 20)
    again = raydub.dub(
        str(inputs / "clip.mp4"), audio=str(inputs / "en.wav"), output=tmp_path / "o.mp4", chunk_seconds=0.5
    )
    assert (again.ok, again.earlier, again.frames, again.seconds) == (True, True, 20, 0.0)
    assert {signum: signal.getsignal(signum) for signum in signals} == signals
    assert dict(os.environ) == environment
    assert capfd.readouterr() == ("", "")


def test_what_is_wrong_with_a_call_is_raised_and_with_a_job_is_told(
    inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    more: dict[str, Any] = {"audio": inputs / "en.wav", "output": tmp_path / "o.mp4"}
    for options, code in (
        ({"crff": 3}, Code.FIELD_UNKNOWN),
        ({"crf": 99}, Code.FIELD_VALUE),
        ({"device": "gpu"}, Code.FIELD_VALUE),
        ({"workers": 0}, Code.FIELD_VALUE),
        ({"workers": True}, Code.FIELD_VALUE),
        ({"workers": "2"}, Code.FIELD_VALUE),
        ({"step_timeout": -1}, Code.FIELD_VALUE),
        ({"step_timeout": float("nan")}, Code.FIELD_VALUE),
        ({"stall_timeout": "60"}, Code.FIELD_VALUE),
        ({"stall_timeout": None}, Code.FIELD_VALUE),
        ({"wait_gpu": float("inf")}, Code.FIELD_VALUE),
        ({"crf": 10**5000}, Code.FIELD_VALUE),
        ({"output": None}, Code.FIELD_MISSING),
        ({"output": 3}, Code.FIELD_VALUE),
        ({"output": b"o.mp4"}, Code.FIELD_VALUE),
        ({"work_dir": "a\0b"}, Code.FIELD_VALUE),
        ({"results": 7}, Code.FIELD_VALUE),
        ({"tts_command": ["espeak"]}, Code.FIELD_VALUE),
        ({"accept_license": [None]}, Code.FIELD_VALUE),
        ({"script": "x.srt"}, Code.FIELD_CONFLICT),
        ({"allow_scheme": "ftp"}, Code.URI_SCHEME),
    ):
        with pytest.raises(UsageError) as refused:
            raydub.dub(inputs / "clip.mp4", **{**more, **options})
        assert (refused.value.code, refused.value.line) == (code, None)
    # Whether this process is connected to a Ray already depends on the tests before.
    monkeypatch.setattr("raydub.cluster.session.connect.is_connected", lambda: False)
    with pytest.raises(raydub.RaydubError) as unreachable:
        raydub.dub(inputs / "clip.mp4", **more, address="127.0.0.1:1024")
    assert unreachable.value.code is Code.CLUSTER_UNREACHABLE
    result = raydub.dub(inputs / "none.mp4", **more)
    assert (result.status, result.ok) == ("failed", False)
    assert result.error is not None
    assert result.error.code is Code.INPUT_MISSING
    with pytest.raises(raydub.RaydubError, match=r"none\.mp4"):
        result.raise_for_status()
    assert capfd.readouterr() == ("", "")


def test_what_is_no_manifest_is_refused(inputs: Path, tmp_path: Path) -> None:
    row = {"video": inputs / "clip.mp4", "audio": inputs / "en.wav", "output": "a.mp4"}
    for manifest in (row, [row, "a.mp4"], 7, None):
        with pytest.raises(UsageError) as refused:
            raydub.run(manifest, output_root=tmp_path, use_ray=False)
        assert (refused.value.code, refused.value.field) == (Code.FIELD_VALUE, "manifest")
    with pytest.raises(UsageError) as refused:
        raydub.run([row], output_root=tmp_path, use_ray=False, address="nohost:1")
    assert (refused.value.code, refused.value.field) == (Code.FIELD_CONFLICT, "address")

    def theirs() -> Iterator[dict[str, Any]]:
        yield row
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        raydub.run(theirs(), output_root=tmp_path, use_ray=False)
    assert not (tmp_path / "a.mp4").exists()


def test_values_of_pandas_and_numpy() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame([{"crf": 20, "pads": numpy.array([0, 10, 0, 0]), "face": pandas.NA, "fps": float("nan")}])
    [row] = rows_of(table)
    assert fields_of(row) == {"crf": 20, "pads": [0, 10, 0, 0]}


def test_run_of_rows(inputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": "a", "video": inputs / "clip.mp4", "audio": inputs / "en.wav", "output": "a.mp4", "crf": float("nan")},
        {"id": "b", "video": inputs / "clip.mp4", "output": "b.mp4"},
        {"id": "c", "video": inputs / "none.mp4", "audio": inputs / "en.wav", "output": "c.mp4"},
    ]
    found = raydub.run(rows, output_root=tmp_path, results=tmp_path / "r", use_ray=False, crf=20)
    assert found.counts() == {"ok": 1, "failed": 2, "quarantined": 0, "skipped": 0}
    assert [one.id for one in found] == ["a", "b", "c"]
    assert [one.id for one in found.failed] == ["b", "c"]
    assert (len(found), found.ok, found["c"], found[0].output) == (3, False, found[2], tmp_path / "a.mp4")
    assert [one.error.code if one.error else None for one in found] == [None, Code.FIELD_MISSING, Code.INPUT_MISSING]
    assert [path.name for path in found.files] == ["r.jsonl", "r.parquet", "r.failed.jsonl"]
    assert [row.model_dump(mode="json") for row in read_results(tmp_path / "r.parquet")] == found.rows()
    with pytest.raises(raydub.RaydubError, match="2 of 3 jobs"):
        found.raise_for_status()
    with pytest.raises(KeyError):
        found["d"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_run_of_a_manifest_on_the_ray_of_this_process(inputs: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "jobs.csv"
    manifest.write_text(f"video,audio,output\n{inputs}/clip.mp4,{inputs}/en.wav,o.mp4\n")
    told: list[raydub.Progress] = []
    found = raydub.run(manifest, progress=told.append, masking="always")
    assert found.raise_for_status().ok
    assert [path.name for path in found.files] == ["jobs.csv.results.jsonl", "jobs.csv.results.parquet"]
    assert [one.result for one in told if one.event == "finished"] == list(found)
    assert found.results[0].synthesised == found.results[0].frames == 20


@pytest.mark.slow
def test_what_progress_raises_ends_the_run_in_order(inputs: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def enough(told: raydub.Progress) -> None:
        if told.event == "part":
            raise Enough

    more: dict[str, Any] = {"audio": inputs / "en.wav", "output": tmp_path / "o.mp4", "chunk_seconds": 0.2}
    with pytest.raises(Enough):
        raydub.dub(inputs / "clip.mp4", **more, results=tmp_path / "r", progress=enough)
    [row] = read_results(tmp_path / "r.jsonl")
    assert (row.status, row.error_code) == ("skipped", "E_INTERRUPTED")

    def nested(told: raydub.Progress) -> None:
        raydub.dub(inputs / "clip.mp4", **more)

    with pytest.raises(UsageError, match="progress"):
        raydub.dub(inputs / "clip.mp4", **more, progress=nested)
    assert raydub.dub(inputs / "clip.mp4", **more).ok


@pytest.mark.slow
def test_ctrl_c_ends_the_run_in_order_and_is_raised(inputs: Path, tmp_path: Path) -> None:
    def interrupt(told: raydub.Progress) -> None:
        if told.event == "planned":
            threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            raydub.dub(
                inputs / "clip.mp4",
                audio=inputs / "en.wav",
                output=tmp_path / "o.mp4",
                results=tmp_path / "r",
                progress=interrupt,
                length="video",
                chunk_seconds=0.2,
            )
    finally:
        signal.signal(signal.SIGINT, before)
    [row] = read_results(tmp_path / "r.jsonl")
    assert (row.status, row.error_code) == ("skipped", "E_INTERRUPTED")


def test_the_package_starts_light() -> None:
    """Importing it loads nothing of raydub's; the API loads no heavy package before it works."""
    code = (
        "import sys, raydub\n"
        "assert not [name for name in sys.modules if name.startswith('raydub.')]\n"
        "assert all(getattr(raydub, name) for name in raydub.__all__)\n"
        "assert not [name for name in ('torch', 'ray', 'cv2', 'dlib', 'librosa', 'scipy') if name in sys.modules]\n"
        "assert not hasattr(raydub, 'nothing')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
