"""The way to a dashboard: Ray's own client against small servers that answer as a dashboard does, or as something
else. No Ray is started."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from raydub.cluster.session import dashboard, jobs
from raydub.cluster.session.connect import _read_auth_anew
from raydub.errors import Code, DependencyError, RaydubError, UsageError

pytest.importorskip("aiohttp", reason="the client of Ray Jobs needs raydub[cluster]")
pytest.importorskip("requests")

TOKEN = "5" * 64
VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAYDUB_ADDRESS", *dashboard._RAY_ADDRESSES)
JOB = {
    "type": "SUBMISSION", "job_id": None, "submission_id": "jobs-0123456789", "status": "RUNNING", "message": "m",
    "entrypoint": "raydub run jobs.jsonl", "start_time": 5000, "metadata": {"raydub": "1", "raydub_work_dir": "/w"},
    "runtime_env": {}, "driver_info": None, "error_type": None, "end_time": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")  # where Ray looks for a token file
    monkeypatch.setenv("NO_PROXY", "*")
    _read_auth_anew()
    yield
    monkeypatch.undo()
    _read_auth_anew()


@contextmanager
def served(answer: Callable[[str, str, str | None], tuple[int, str]]) -> Iterator[str]:
    """A web server on loopback. answer: from method, path and token to status and text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answer(self.command, self.path, self.headers.get("Authorization"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ray_like(method: str, path: str, token: str | None) -> tuple[int, str]:
    """As Ray 2.60 in token mode answers."""
    if token is None:
        return 401, "Unauthorized: Missing authentication token"
    if token != f"Bearer {TOKEN}":
        return 403, "Forbidden: Invalid authentication token"
    if path == "/api/version":
        return 200, json.dumps({"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"})
    if path == "/api/jobs/":
        return 200, json.dumps([JOB])
    if path == f"/api/jobs/{JOB['submission_id']}":
        return 200, json.dumps(JOB)
    if path.endswith("/stop"):
        return 500, "Traceback: boom"
    return 404, f"Job {path.rpartition('/')[2]} does not exist"


def refused(address: str | None) -> RaydubError:
    with pytest.raises(RaydubError) as found:
        jobs.connect(address).jobs()
    return found.value


def with_token(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    _read_auth_anew()


def test_the_right_token_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    with_token(monkeypatch, TOKEN)
    with served(ray_like) as url:
        for address in (url, f"{url}/", url.removeprefix("http://")):
            (job,) = jobs.connect(address).jobs()
        assert (job.id, job.status, job.work_dir, job.started) == ("jobs-0123456789", "RUNNING", "/w", 5.0)
        with pytest.raises(UsageError) as unknown:
            jobs.connect(url).find("other-0123456789")
        assert unknown.value.code is Code.JOB_UNKNOWN
        with pytest.raises(DependencyError) as broken:
            jobs.connect(url).stop(job)
        assert (broken.value.code, "boom" in broken.value.message) == (Code.JOB_REFUSED, True)


def test_a_missing_and_a_wrong_token_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(ray_like) as url:
        none = refused(url)
        assert none.code is Code.CLUSTER_DENIED
        assert "it requires a token, and RAY_AUTH_MODE is not token" in none.message
        assert "ray get-auth-token" in none.hint
        assert none.exit_code == 3
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
        _read_auth_anew()
        assert "(a token is set)" in refused(url).message
        with_token(monkeypatch, "6" * 64)
        wrong = refused(url)
        assert (wrong.code, "it refuses our token" in wrong.message) == (Code.CLUSTER_DENIED, True)
        assert "6666" not in f"{wrong}"
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        _read_auth_anew()
        absent = refused(url)
        assert (absent.code, "none is found" in absent.message) == (Code.CLUSTER_DENIED, True)


def test_an_address_of_ours_wins_over_those_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    with_token(monkeypatch, TOKEN)
    with served(ray_like) as url:
        monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
        assert jobs.connect(url).jobs()
        assert "127.0.0.1:9'" in refused(None).message
        monkeypatch.setenv("RAYDUB_ADDRESS", url)
        assert jobs.connect(None).jobs()
        assert dashboard.os.environ["RAY_ADDRESS"] == "http://127.0.0.1:9"
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert dashboard.asked_dashboard(None) == dashboard.DEFAULT


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, "<html>hello</html>"), "not a Ray dashboard (status 200"),
        ((404, "no"), "not a Ray dashboard (status 404"),
        ((502, "Bad gateway"), "not a Ray dashboard (status 502"),
        ((302, ""), "not a Ray dashboard (status 302"),
    ],
)
def test_a_server_that_is_no_dashboard(answer: tuple[int, str], words: str) -> None:
    with served(lambda *_: answer) as url:
        error = refused(url)
    assert error.code is Code.CLUSTER_UNREACHABLE
    assert words in error.message


def test_nobody_answers() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        nothing = refused(f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert (nothing.code, nothing.exit_code) == (Code.CLUSTER_UNREACHABLE, 3)
    assert "nothing listens there" in nothing.message
    assert "kubectl port-forward svc/NAME-head-svc 8265:8265" in nothing.hint
    assert "ssh -L 8265:127.0.0.1:8265 HEAD" in nothing.hint
    assert "cannot be resolved" in refused("http://nowhere.invalid:8265").message


def test_tls_where_there_is_none_and_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(ray_like) as url:
        assert "does not speak TLS" in refused(url.replace("http://", "https://")).message
    monkeypatch.setattr(dashboard, "_ANSWER_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "does not answer" in refused(f"http://127.0.0.1:{silent.getsockname()[1]}").message


@pytest.mark.parametrize("address", ["ray://head:10001", "s3://bucket", "http://", "anyscale://x"])
def test_an_address_of_another_kind(address: str) -> None:
    error = refused(address)
    assert (error.code, error.field, error.exit_code) == (Code.FIELD_VALUE, "address", 2)


def test_a_bare_address_that_is_no_cluster_either() -> None:
    with served(lambda *_: (200, "<html>")) as url:
        assert refused(url.removeprefix("http://")).code is Code.CLUSTER_UNREACHABLE
    assert refused("nonsense").code is Code.CLUSTER_UNREACHABLE


VERSION = json.dumps({"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"})


def broken(answer: Callable[[], tuple[int, str]]) -> Callable[[str, str, str | None], tuple[int, str]]:
    """A dashboard whose Ray Jobs give this answer."""
    return lambda method, path, token: (200, VERSION) if path == "/api/version" else answer()


@pytest.mark.parametrize(
    "text",
    ["<html>hello</html>", "", "[1]", "{}", "null", '[{"type": "SUBMISSION"}]', '"x"', '[{"type": 5, "status": []}]'],
)
def test_ray_jobs_that_answer_something_else(text: str) -> None:
    with served(broken(lambda: (200, text))) as url:
        cluster = jobs.connect(url)
        for ask in (cluster.jobs, lambda: cluster.find(JOB["submission_id"]), lambda: cluster.log("a")):
            try:
                found: object = ask()
            except RaydubError as error:
                assert error.code is Code.CLUSTER_UNREACHABLE
            else:
                assert found in ([], "")


def test_ray_jobs_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "_WORK_SECONDS", 0.3)
    still = threading.Event()

    def hang() -> tuple[int, str]:
        still.wait(20)
        return 200, "[]"

    with served(broken(hang)) as url:
        begin = time.monotonic()
        error = refused(url)
        assert time.monotonic() - begin < 5
        still.set()
    assert error.code is Code.CLUSTER_UNREACHABLE
    assert "does not answer within 0.3 s" in error.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_follows_no_redirect(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_token(monkeypatch, TOKEN)
    asked: list[str | None] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        goal = f"http://localhost:{other.server_port}/"

        class Leading(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                away = self.path != "/api/version"
                self.send_response(status if away else 200)
                if away:
                    self.send_header("Location", goal)
                self.end_headers()
                self.wfile.write(b"" if away else VERSION.encode())

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        with HTTPServer(("127.0.0.1", 0), Leading) as first:
            threading.Thread(target=first.serve_forever, daemon=True).start()
            cluster = jobs.connect(f"http://127.0.0.1:{first.server_port}")
            for ask in (cluster.jobs, lambda: cluster.log("a"), lambda: cluster.stop(jobs.JobSeen("a", "RUNNING", {}))):
                with pytest.raises(RaydubError):
                    ask()
            with pytest.raises(RaydubError):
                list(cluster.follow("a"))
            first.shutdown()
        other.shutdown()
    assert all(token is None for token in asked)


@pytest.mark.parametrize(("status", "code"), [(404, Code.CLUSTER_UNREACHABLE), (401, Code.CLUSTER_DENIED), (500, None)])
def test_a_log_that_cannot_be_followed(status: int, code: Code | None) -> None:
    with served(broken(lambda: (status, "no"))) as url, pytest.raises(RaydubError) as found:
        list(jobs.connect(url).follow("jobs-0123456789"))
    assert found.value.code is (code or Code.CLUSTER_UNREACHABLE)
