"""What is said before anything is started: finished rows, busy outputs, absent weights and GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from raydub.cluster.admission import Admission, admit
from raydub.cluster.cli import app
from raydub.cluster.commands.run import show_report
from raydub.cluster.request import RunReport, RunRequest
from raydub.cluster.session import where
from raydub.errors import Code, DependencyError
from raydub.identity import identify
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.results import JobResult
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished
from raydub.pipeline.locks import RunLock
from raydub.pipeline.pools import Node
from raydub.stages.output import note_made
from raydub.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]


def finished_manifest(folder: Path, rows: int = 3) -> Path:
    """A manifest whose rows are all finished as far as their records say; the media are text."""
    (folder / "v.mp4").write_text("video")
    (folder / "a.wav").write_text("speech")
    for path in (folder / "v.mp4", folder / "a.wav"):
        os.utime(path, (1e9, 1e9))
    finished, store = Finished(folder / ".raydub"), Store(folder / ".raydub")
    lines = []
    for number in range(rows):
        output = folder / f"o{number}.mp4"
        output.write_text(f"dubbed {number}")
        job = Job(
            id=f"o{number}",
            video=str(folder / "v.mp4"),
            audio=str(folder / "a.wav"),
            output=str(output),
            line=number + 1,
        )
        digests = Admission().digests_of(job)
        assert digests is not None
        result = JobResult(id=job.id, status="ok", output=job.output, frames=5, attempts=1)
        seen = {name: identify(path).sha256 for name, path in job.inputs().items()}
        finished.write(
            job, digests, Planned(job.id, "/w/j", 1, 5, inputs=seen, key="k"), result.model_dump(mode="json")
        )
        note_made(job, store, identify(output).sha256)
        lines.append(json.dumps({"video": "v.mp4", "audio": "a.wav", "output": output.name}))
    path = folder / "m.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_finished_manifest_loads_nothing_heavy_and_says_so(tmp_path: Path) -> None:
    manifest = finished_manifest(tmp_path)
    code = (
        "import sys\nfrom raydub.cluster.cli import main\n"
        f"sys.argv = ['raydub', 'run', {str(manifest)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('LOADED', [n for n in ('torch', 'ray', 'cv2', 'librosa', 'scipy', 'dlib') if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "nothing to do: 3 rows were already finished"
    assert said[-1] == "LOADED []"
    rows = [json.loads(line) for line in (tmp_path / "m.results.jsonl").read_text().splitlines()]
    assert [(row["id"], row["status"], row["attempts"], row["line"]) for row in rows] == [
        (f"o{number}", "ok", 0, number + 1) for number in range(3)
    ]
    assert not (tmp_path / ".raydub" / "runs").exists()


def test_without_a_standard_error_the_work_goes_on(tmp_path: Path) -> None:
    manifest = finished_manifest(tmp_path)
    command = ["sh", "-c", 'exec "$0" -m raydub.cluster.cli run "$1" 2>&-', sys.executable, str(manifest)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "nothing to do: 3 rows were already finished")


def test_results_of_another_manifest_of_that_name_are_kept(tmp_path: Path) -> None:
    first = finished_manifest(tmp_path)
    assert CliRunner().invoke(app, ["run", str(first), "--no-ray"]).exit_code == 0
    second = tmp_path / "es" / "m.jsonl"
    second.parent.mkdir()
    rows = [json.loads(line) for line in first.read_text().splitlines()]
    here = {name: str(tmp_path / rows[0][name]) for name in ("video", "audio")}
    second.write_text("".join(json.dumps({**row, **here}) + "\n" for row in rows[:1]))
    results = tmp_path / "m.results.jsonl"
    before = results.read_bytes()
    asked = ["run", str(second), "--no-ray", "--output-root", str(tmp_path)]
    refused = CliRunner().invoke(app, asked)
    assert refused.exit_code == 2
    assert "E_OUTPUT_EXISTS" in refused.stderr
    assert str(first) in refused.stderr.replace("\n", "")
    assert results.read_bytes() == before
    own = CliRunner().invoke(app, [*asked, "--results", str(tmp_path / "es.results")])
    assert (own.exit_code, results.read_bytes()) == (0, before)
    assert len((tmp_path / "es.results.jsonl").read_text().splitlines()) == 1
    # a manifest that was moved has results of its own to go on with
    first.rename(tmp_path / "old.jsonl")
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert len(results.read_text().splitlines()) == 1


def test_a_row_that_changed_is_looked_at_again(tmp_path: Path) -> None:
    manifest = finished_manifest(tmp_path)
    (tmp_path / "o1.mp4").unlink()
    result = CliRunner().invoke(app, ["run", str(manifest), "--no-ray", "--json"])
    report = json.loads(result.stdout)
    # its video is no video: it fails, which nobody would have noticed without a look
    assert (result.exit_code, report["finished_before"]) == (1, 2)
    assert [row["status"] for row in report["results"]] == ["ok", "failed", "ok"]


def test_outputs_of_another_run_are_left_alone(tmp_path: Path) -> None:
    """The other run is another process: to the kernel a process never disturbs itself."""
    output = tmp_path / "o.mp4"
    code = (
        "import sys\nfrom raydub.pipeline.locks import RunLock\n"
        f"lock = RunLock()\nlock.lock([{str(output)!r}])\n"
        "print('held', flush=True)\nsys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    (tmp_path / "v.mp4").write_bytes(b"no video")
    (tmp_path / "a.wav").write_bytes(b"no sound")
    row = {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4", "id": "busy"}
    other = {**row, "video": "w.mp4", "output": "p.mp4", "id": "free"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(other) + "\n")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        arguments = ["run", str(tmp_path / "m.jsonl"), "--no-ray", "--json", "--work-dir", str(tmp_path / "work")]
        result = CliRunner().invoke(app, arguments)
        process.communicate("")
    assert result.exit_code == 1
    found = json.loads(result.stdout)["results"]
    assert [(one["id"], one["error_code"]) for one in found] == [("busy", "E_OUTPUT_BUSY"), ("free", "E_INPUT_MISSING")]
    # it can be fed back in
    failed = (tmp_path / "m.results.failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in failed] == ["busy", "free"]


def test_absent_weights_end_their_jobs_before_anything_starts(tmp_path: Path) -> None:
    jobs = [
        Job(id=name, video="v", audio="a", output=str(tmp_path / f"{name}.mp4"), options=options)
        for name, options in (("good", Options()), ("bad", Options(model=str(tmp_path / "none.pth"))))
    ]
    with RunLock() as lock:
        admitted = admit(jobs, Finished(tmp_path), lock, tmp_path)
    assert [job.id for job in admitted.open] == ["good"]
    assert [(result.id, result.error_code) for result in admitted.closed] == [("bad", Code.WEIGHTS_MISSING)]
    assert admitted.unable


def request(**more: object) -> RunRequest:
    return RunRequest(jobs=(), bad=(), work_dir=Path("work"), results=None, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "lips", "render"),
    [
        ([{}], 1.0, 0.0),
        ([{"model": "wav2lip"}], 1.0, 0.0),
        ([{}, {"restore": "gfpgan"}], 0.0, 1.0),
        ([{"model": "wav2lip"}, {"upscale": "x2"}], 0.5, 0.5),
    ],
)
def test_pools_suit_what_the_jobs_ask_for(rows: list[dict[str, str]], lips: float, render: float) -> None:
    jobs = tuple(
        Job(id=str(number), video="v", audio="a", output=f"{number}.mp4", options=Options(**row))  # type: ignore[arg-type]
        for number, row in enumerate(rows)
    )
    pools = where.planner(RunRequest(jobs=jobs, bad=(), work_dir=Path("w"), results=None))([Node(8.0, 1.0)], len(jobs))
    assert (pools["lipsync"].gpus, pools["render"].gpus) == (lips, render)


def test_a_gpu_is_waited_for_and_then_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: float(sum(naps)), sleep=naps.append)
    monkeypatch.setattr(where, "time", clock)
    monkeypatch.setattr("raydub.pipeline.nodes.nodes_now", lambda: {"a": Node(4.0, 1.0 if sum(naps) > 3 else 0.0)})
    assert where._nodes(request(device="auto"), 0.0) == [Node(4.0)]
    assert where._nodes(request(device="cuda"), 30.0) == [Node(4.0, 1.0)]
    assert sum(naps) == 4.0
    naps.clear()
    with pytest.raises(DependencyError) as found:
        where._nodes(request(device="cuda"), 2.5)
    assert found.value.code is Code.NO_GPU
    assert sum(naps) == 2.5


@pytest.mark.usefixtures("ray_here")
def test_a_run_without_its_gpu_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"video": "v.mp4", "audio": "a.wav", "output": "o.mp4"}) + "\n")
    arguments = ["run", str(tmp_path / "m.jsonl"), "--device", "cuda", "--wait-gpu", "0.1", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3
    assert json.loads(result.stdout)["error"]["code"] == "E_NO_GPU"
    assert not list(tmp_path.glob(".raydub/runs/*"))
    assert not list(tmp_path.glob(".raydub/jobs/*"))


def test_the_end_of_a_run_names_what_was_special(capsys: pytest.CaptureFixture[str]) -> None:
    results = (
        JobResult(id="a", status="ok", attempts=2),
        JobResult(id="b", status="quarantined", error_code="E_QUARANTINED", attempts=3),
        JobResult(id="c", status="ok"),
    )
    show_report(RunReport(results, earlier=1, seconds=2.0, object_store_mb=12.3), as_json=False)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "3 rows: 2 ok, 1 quarantined (1 already finished); 2.0 s",
        "  took more than one attempt: a (2), b (3)",
        "  quarantined: b",
        "  object store: 12 MiB at most",
    ]


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (RunReport((JobResult(id="a", status="ok"),)), 0),
        (RunReport((JobResult(id="a", status="failed"),)), 1),
        (RunReport((JobResult(id="a", status="quarantined"), JobResult(id="b", status="ok"))), 1),
        (RunReport((JobResult(id="a", status="failed"),), dependency_missing=True), 3),
        (RunReport((JobResult(id="a", status="skipped"),), stop_code=130), 130),
        (RunReport((JobResult(id="a", status="ok"),), stop_code=143), 143),
    ],
)
def test_exit_codes(report: RunReport, code: int) -> None:
    assert report.exit_code() == code
    assert sum(report.counts().values()) == len(report.results)


def test_a_commercial_job_is_refused_before_it_is_found_finished(tmp_path: Path) -> None:
    """The same job without commercial=true was finished with dlib's landmarks: it is refused all the same."""
    job = Job(
        id="j",
        video=str(tmp_path / "v.mp4"),
        audio=str(tmp_path / "a.wav"),
        output=str(tmp_path / "o.mp4"),
        line=3,
        options=Options(commercial=True, landmarks="dlib", restore="gfpgan"),
    )
    found = admit([job], Finished(tmp_path / ".raydub"), RunLock(), tmp_path / ".raydub", quiet=True)
    (result,) = found.closed
    assert not found.open
    assert found.unable
    assert result.error_code == "E_LICENCE"
    assert result.line == 3
    assert "dlib's 68 points" in (result.error_message or "")
    assert "GFPGANv1.4" in (result.error_message or "")
    assert "landmarks=mesh" in (result.hint or "")


@pytest.mark.parametrize("content", [None, b"TFL3 cut off"])
def test_absent_or_wrong_landmarks_are_told_before_any_work(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    if content is not None:
        (tmp_path / "weights" / "face_landmark.tflite").write_bytes(content)
    video, audio, output = (str(tmp_path / name) for name in ("v.mp4", "a.wav", "o.mp4"))
    job = Job(id="j", video=video, audio=audio, output=output, line=2, options=Options(landmarks="mesh"))
    found = admit([job], None, RunLock(), tmp_path / ".raydub", quiet=True)
    (result,) = found.closed
    assert found.unable  # exit 3
    assert result.error_code == ("E_WEIGHTS_MISSING" if content is None else "E_WEIGHTS_HASH")
    assert "raydub models pull mesh" in (result.hint or "")
