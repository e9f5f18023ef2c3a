"""jobs, status, logs, cancel, resume, results: with a client that starts nothing, and with folders alone."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.ordering import order_for
from raydub.cluster.session import jobs
from raydub.errors import Code, DependencyError
from raydub.manifests.results import JobResult
from raydub.pipeline.progress import QuietProgress
from raydub.pipeline.run_lookup import latest
from raydub.pipeline.run_state import RunState
from raydub.store import Store
from tests.cluster.fake_jobs import FakeJobs

ID = "jobs-0123456789"
FAILED = JobResult(id="b", status="failed", line=2, error_code="E_STORAGE", error_message="no", hint="do")


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def said(*arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke(arguments[0], "--json", *arguments[1:]).stdout)
    return found


def facts(folder: Path, **more: str) -> dict[str, str]:
    return {"raydub": "1", "raydub_work_dir": str(folder), "raydub_manifest": "/in/jobs.jsonl", **more}


def run_in(folder: Path, monkeypatch: pytest.MonkeyPatch, ray_job: str = "", end: bool = True) -> RunState:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"metadata": {"job_submission_id": ray_job}}))
    state = RunState(folder, "a" * 12, QuietProgress(2), ["a", "b"], every=0.02).start()
    state.planned("a", 50, 2)
    state.part("a", 20, False)
    if end:
        rows = [JobResult(id="a", status="ok", frames=50), FAILED]
        state.close(rows, ["/out/jobs.results.jsonl"], lambda path: path.write_text('{"id": "b"}\n'))
        return state
    for _ in range(2000):
        run = latest(str(folder))
        if run is not None and run.state["frames"]["done"] == 20:
            return state
        threading.Event().wait(0.005)
    raise AssertionError("no state was written")


def test_jobs_are_listed_with_what_their_folders_know(
    tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke("jobs").stdout == "no jobs of raydub\n"
    cluster.put(ID, "FAILED", facts(tmp_path / "w"))
    cluster.put(f"{ID}-2", "RUNNING", facts(tmp_path / "w"))
    cluster.put("raysubmit_1", "RUNNING", {})
    cluster.put("films-9876543210", "PENDING", facts(tmp_path / "nothing"))
    run_in(tmp_path / "w", monkeypatch, ID)
    rows = {row["job_id"]: row for row in said("jobs")["jobs"]}
    assert list(rows) == ["films-9876543210", f"{ID}-2", ID]
    assert (rows[ID]["rows"], rows[ID]["ok"], rows[ID]["failed"]) == (2, 1, 1)
    assert rows[f"{ID}-2"]["rows"] is None
    text = invoke("jobs").stdout
    assert "raysubmit_1" not in text
    assert "/in/jobs.jsonl" in text


@pytest.mark.parametrize("command", ["status", "logs", "cancel", "resume", "results"])
def test_jobs_that_are_not_ours(command: str, cluster: FakeJobs) -> None:
    cluster.put("raysubmit_1", "RUNNING", {})
    odd = "a?b" if command in ("status", "results") else "../a"
    for name, words in (("nothing", "no such job"), ("raysubmit_1", "another program"), (odd, "not the id of a job")):
        result = invoke(command, name)
        assert result.exit_code == 2
        assert "E_JOB_UNKNOWN" in result.stderr
        assert words in result.stderr
    assert cluster.next == {}


def test_cancel_waits_for_the_end_and_refuses_ended_jobs(cluster: FakeJobs) -> None:
    cluster.put(ID, "RUNNING", facts(Path("/w")))
    done = invoke("cancel", ID)
    assert (done.exit_code, done.stdout) == (0, f"{ID}: STOPPED; continue it with: raydub resume {ID}\n")
    again = invoke("cancel", ID, "--json")
    assert (again.exit_code, json.loads(again.stdout)["error"]["code"]) == (2, "E_JOB_STATE")
    cluster.put(f"{ID}-2", "RUNNING", facts(Path("/w")))
    assert said("cancel", ID, "--no-wait") == {"job_id": f"{ID}-2", "status": "STOPPING"}


def test_resume_is_the_same_command_again(tmp_path: Path, cluster: FakeJobs) -> None:
    path = "/on/the/cluster/my jobs.jsonl"
    order = order_for(path, ["--strict"], runtime_env={"env_vars": {"RAYDUB_WEIGHTS": "/w"}}).order
    first = said("submit", path, "--env", "RAYDUB_WEIGHTS=/w", "--", "--strict")["job_id"]
    assert first == order.base
    running = invoke("resume", first)
    assert (running.exit_code, "has not ended: PENDING" in running.stderr) == (2, True)
    cluster.told[first].status = "STOPPED"
    second = said("resume", first)
    assert (second["job_id"], second["new"]) == (f"{first}-2", True)
    one, two = cluster.told[first], cluster.told[f"{first}-2"]
    assert (one.entrypoint, one.runtime_env, one.metadata) == (two.entrypoint, two.runtime_env, two.metadata)
    two.status = "FAILED"
    assert said("resume", f"{first}-2")["job_id"] == f"{first}-3"


def test_a_sent_manifest_is_sent_again(tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({"video": "/v.mp4", "audio": "/a.wav", "output": "o.mp4"}))
    first = said("submit", "jobs.jsonl", "--", "--output-root", "/out")["job_id"]
    assert order_for(str(path), ["--output-root", "/out"]).order.base == first
    cluster.told[first].status = "STOPPED"
    assert said("resume", first)["job_id"] == f"{first}-2"
    assert cluster.sent[f"{first}-2"] == cluster.sent[first]
    assert cluster.told[first].runtime_env == cluster.told[f"{first}-2"].runtime_env
    cluster.told[f"{first}-2"].status = "STOPPED"
    path.write_text(json.dumps({"video": "/v.mp4", "audio": "/b.wav", "output": "o.mp4"}))
    changed = invoke("resume", first)
    path.unlink()
    gone = invoke("resume", first)
    assert (changed.exit_code, gone.exit_code) == (2, 2)
    assert "its content, a file that is sent with it, or the version of raydub, is another one now" in changed.stderr
    assert "does not exist" in gone.stderr
    assert f"{first}-3" not in cluster.told


def test_logs(cluster: FakeJobs) -> None:
    cluster.put(ID, "RUNNING", facts(Path("/w")))
    cluster.logs[ID] = "one\ntwo \x1b[31mred\n\nlast"
    shown = ["one", "two \\x1b[31mred", "", "last"]
    assert invoke("logs", ID).stdout.splitlines() == shown
    cluster.next[ID] = ["RUNNING", "RUNNING", "SUCCEEDED"]
    assert invoke("logs", ID, "--follow").stdout.splitlines() == shown
    assert said("logs", ID)["lines"] == ["one", "two \x1b[31mred", "", "last"]
    assert invoke("logs", ID, "--follow", "--json").exit_code == 2


def test_status_of_a_job_and_of_its_folder(tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.put(ID, "RUNNING", facts(tmp_path / "out" / ".raydub"))
    none_yet = invoke("status", ID)
    assert (none_yet.exit_code, "has no run yet" in none_yet.stdout) == (0, True)
    cluster.logs[ID] = "x\n1/2 jobs · 20/50 frames · 5 fps\nnoise\n"
    assert "from its log: 1/2 jobs · 20/50 frames" in invoke("status", ID).stdout
    state = run_in(tmp_path / "out" / ".raydub", monkeypatch, ID, end=False)
    found = said("status", ID)
    assert (found["job"], found["alive"]) == ({"id": ID, "status": "RUNNING"}, True)
    assert found["state"]["counts"] == {
        "ok": 0, "failed": 0, "quarantined": 0, "skipped": 0, "running": 1, "waiting": 1,
    }  # fmt: skip
    text = invoke("status", ID).stdout
    assert "frames: 20 of 50 done" in text
    assert "  a                            20/50       1/2" in text
    cluster.told[ID].status = "FAILED"
    died = invoke("status", ID)
    assert (died.exit_code, "its driver is dead" in died.stdout) == (1, True)
    state.close([FAILED], [], lambda path: path.touch())


def test_status_of_a_folder_asks_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydub.cluster.session.jobs.connect", lambda address: pytest.fail("Ray was asked"))
    run_in(tmp_path / "out" / ".raydub", monkeypatch)
    for folder in (tmp_path / "out", tmp_path / "out" / ".raydub"):
        result = invoke("status", folder)
        assert result.exit_code == 1
        assert "rows: 2 (1 ok, 1 failed)" in result.stdout
        assert "[E_STORAGE] job 'b', line 2: no (do)" in result.stdout
        assert "/out/jobs.results.jsonl" in result.stdout
    empty = invoke("status", tmp_path)
    assert (empty.exit_code, "E_NO_RUN" in empty.stderr) == (2, True)
    Store(tmp_path / "old").put_record("jobs/x", {})
    assert "has no record of a run" in invoke("status", tmp_path / "old").stderr


def test_a_driver_elsewhere_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = run_in(tmp_path, monkeypatch, end=False)
    name, store = "state/00000002-" + "b" * 12, Store(tmp_path)
    store.put_record(name, {**state.record(), "host": "elsewhere", "born": "x:1:2", "pid": 4})
    assert "--watch 15" in invoke("status", tmp_path).stdout
    silent = invoke("status", tmp_path, "--watch", "0.1")
    assert (silent.exit_code, "no sign of life for 0.1 s: process 4 on elsewhere" in silent.stdout) == (1, True)
    assert "also said to run: run 1 of process" in silent.stdout
    state.close([FAILED], [], lambda path: path.touch())


def test_results_of_a_run(tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.put(ID, "FAILED", facts(tmp_path / "w"))
    none_yet = invoke("results", ID)
    assert (none_yet.exit_code, "E_NO_RESULTS" in none_yet.stderr) == (2, True)
    state = run_in(tmp_path / "w", monkeypatch, ID, end=False)
    working = invoke("results", ID)
    assert (working.exit_code, "E_NO_RESULTS" in working.stderr) == (2, True)
    state.close([JobResult(id="a", status="ok"), FAILED], [], lambda path: path.write_text('{"id": "b"}\n'))
    for what in (ID, tmp_path / "w"):
        rows = invoke("results", what)
        assert rows.exit_code == 1
        assert [json.loads(line)["id"] for line in rows.stdout.splitlines()] == ["a", "b"]
    output = tmp_path / "again.jsonl"
    failed = invoke("results", ID, "--failed-only", "--output", output)
    assert (failed.stdout, output.read_text()) == (f"1 row: {output}\n", '{"id": "b"}\n')
    document = said("results", ID)
    assert (document["counts"]["failed"], [row["status"] for row in document["rows"]]) == (1, ["ok", "failed"])
    inside = invoke("results", ID, "--output", tmp_path / ".raydub" / "x.jsonl")
    assert (inside.exit_code, "E_OUTPUT_ESCAPES" in inside.stderr) == (2, True)


def test_sent_scripts_are_named_by_their_relative_paths_again(
    tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put(ID, "FAILED", facts(tmp_path, raydub_sent="manifest"))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"metadata": {"job_submission_id": ID}}))
    state = RunState(tmp_path, "a" * 12, QuietProgress(1), ["b"], about={"folder": "/ray/pkg"}).start()
    row = '{"id": "b", "script": "/ray/pkg/texts/a.srt", "video": "/ray/pkgs/v.mp4", "crf": 20}\n'
    state.close([FAILED], [], lambda path: path.write_text(row))
    shown = json.loads(invoke("results", ID, "--failed-only").stdout)
    assert shown == {"id": "b", "script": "texts/a.srt", "video": "/ray/pkgs/v.mp4", "crf": 20}


def test_a_run_without_failures_has_no_failed_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = RunState(tmp_path, "a" * 12, QuietProgress(1), ["a"]).start()
    state.close([JobResult(id="a", status="ok")], [], lambda path: pytest.fail("nothing has failed"))
    result = invoke("results", tmp_path, "--failed-only")
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_log_that_breaks_off_is_not_an_end(cluster: FakeJobs) -> None:
    cluster.put(ID, "RUNNING", facts(Path("/w")))
    cluster.logs[ID] = "one\n"
    broken = invoke("logs", ID, "--follow")
    assert (broken.exit_code, broken.stdout) == (3, "one\n")
    assert f"the log breaks off, while {ID} is RUNNING" in broken.stderr
    cluster.put(f"{ID}-2", "PENDING", facts(Path("/w")))
    cluster.logs[f"{ID}-2"], cluster.next[f"{ID}-2"] = "", ["FAILED"]
    never = invoke("logs", ID, "--follow")
    assert (never.exit_code, never.stdout) == (0, "")
    assert "has not begun" in never.stderr


def test_a_dashboard_that_is_away_for_a_while_ends_no_wait(cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.put(ID, "RUNNING", facts(Path("/w")))
    answers = [ConnectionError("away")] * 3 + ["RUNNING"] + [ConnectionError("away")] * 3 + ["STOPPED"]

    def status(job_id: str) -> Any:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(cluster, "get_job_status", status)
    assert jobs.Cluster(cluster, "u").wait(ID, sleep=lambda _: None) == "STOPPED"
    answers[:] = [ConnectionError("away")]
    with pytest.raises(DependencyError) as found:
        jobs.Cluster(cluster, "u").wait(ID, sleep=lambda _: None)
    assert found.value.code is Code.CLUSTER_UNREACHABLE


def test_a_work_folder_of_the_cluster_is_read_by_its_head(
    tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the folder of the job does not exist; the head has it, under another name in this test."""
    cluster.put(
        ID, "FAILED", facts(Path("/only/there/.raydub")), env={"env_vars": {"A": "b"}, "working_dir": "gcs://x"}
    )
    run_in(tmp_path, monkeypatch, ID)
    asked: list[list[str]] = []

    def answer(command: list[str]) -> str:
        asked.append(command)
        return f"runtime env\n{invoke('status', tmp_path, *command[3:]).stdout}\n[W_X] noise\n"

    cluster.answer = answer
    found = said("status", ID)
    assert asked == [["raydub", "status", "/only/there/.raydub", "--ray-job", ID, "--json"]]
    assert (found["read"], found["run"], found["state"]["counts"]["ok"], found["problem"]) == ("head", 1, 1, "")
    text = invoke("status", ID)
    assert text.exit_code == 1
    assert "rows: 2 (1 ok, 1 failed)" in text.stdout
    assert "read by the cluster's head: its work folder /only/there/.raydub cannot be read from here" in text.stdout
    assert list(cluster.told) == [ID], "nothing of the question is left"
    cluster.put(f"{ID}-2", "RUNNING", facts(Path("/only/there/.raydub")))
    other = said("status", ID)
    assert (other["state"], other["read"]) == (None, None), "a run of another try is not its run"
    assert "on the head" in other["problem"]
    for nonsense in ("", "raydub: not found", "{\n}\n", '{\n"run": 1\n}', "{\nx\n}"):
        cluster.answer = lambda command, said=nonsense: said  # type: ignore[misc]
        odd = invoke("status", ID, "--json")
        assert (odd.exit_code, json.loads(odd.stdout)["state"]) == (0, None)
    cluster.told[f"{ID}-2"].status = "PENDING"
    cluster.answer = lambda command: pytest.fail("a job that has not begun has no run")
    assert invoke("status", ID).exit_code == 0


def test_a_bucket_that_cannot_be_read_from_here(cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(work_dir: str) -> str:
        raise DependencyError(Code.CREDENTIALS, "no credentials for s3://b")

    monkeypatch.setattr("raydub.pipeline.run_lookup.work_folder", refused)
    cluster.put(ID, "RUNNING", {**facts(Path("/w")), "raydub_work_dir": "s3://b/w"})
    found = invoke("status", ID)
    assert (found.exit_code, f"{ID}: RUNNING" in found.stdout) == (0, True)
    assert "no credentials for s3://b" in found.stdout


@pytest.mark.parametrize("missing", ["counts", "frames", "jobs", "failures", "stages", "speed", "eta", "rows", "beat"])
def test_a_record_of_another_version(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_in(tmp_path, monkeypatch)
    run = latest(str(tmp_path))
    assert run is not None
    older = {name: value for name, value in run.state.items() if name != missing}
    newer = {**run.state, "counts": {**run.state["counts"], "paused": 3}, "mood": "good"}
    Store(tmp_path).put_record("state/00000002-" + "b" * 12, older)
    for arguments in (["--json"], []):
        result = invoke("status", tmp_path, *arguments)
        assert result.exit_code in (0, 1), result.stderr
        assert "E_INTERNAL" not in result.stderr
        assert invoke("results", tmp_path, *arguments).exit_code == 2  # it has no results
    Store(tmp_path).put_record("state/00000003-" + "c" * 12, newer)
    state = said("status", tmp_path)["state"]
    assert (state["mood"], state["counts"]["paused"]) == ("good", 3)


@pytest.mark.parametrize(
    "record", [{}, {"status": ["x"]}, {"status": "ended", "counts": 7}, {"status": "ended", "jobs": {"a": 1}}]
)
def test_a_foreign_record_is_named_and_hides_nothing(
    record: dict[str, Any], tmp_path: Path, cluster: FakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(tmp_path, monkeypatch)
    Store(tmp_path).put_record("state/00000002-" + "b" * 12, {**record, "raydub": "99.0"})
    result = invoke("status", tmp_path, "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (2, "E_NO_RUN")
    assert "run 2" in result.stderr
    assert "raydub 99.0" in result.stderr
    cluster.put(ID, "RUNNING", facts(tmp_path))
    assert invoke("jobs").exit_code == 0


@pytest.mark.parametrize(
    "call",
    [["status"], ["status", "--watch", "abc", "x"], ["jobs", "--nonsense"], ["plan", "a", "b"], ["logs", "a", "-z"]],
)
def test_a_wrong_call_is_a_document_too(call: list[str]) -> None:
    result = invoke(*call, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "E_FIELD_VALUE"
    assert result.stderr
    assert invoke(*call).stdout == ""


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e9"])
def test_nobody_watches_for_ever(seconds: str, tmp_path: Path) -> None:
    result = invoke("status", tmp_path, "--watch", seconds)
    assert (result.exit_code, "watch" in result.stderr) == (2, True)
