"""What stands at an address is found out within seconds and said, whatever it is; without Ray."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.cluster.session import address
from raydub.cluster.session.address import parsed, reachable
from raydub.errors import EXIT_DEPENDENCY, Code, DependencyError
from tests.examples import slow

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@contextmanager
def server(talk: Callable[[socket.socket], None], family: int = socket.AF_INET) -> Iterator[int]:
    """Port of a TCP server that does `talk` with each caller."""
    with socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family) as listener:

        def accept() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(line,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def silent(line: socket.socket) -> None:
    line.recv(1 << 16)
    time.sleep(60)


def says(words: bytes, first: bool = False) -> Callable[[socket.socket], None]:
    def talk(line: socket.socket) -> None:
        with line:
            if not first:
                line.recv(1 << 16)
            line.sendall(words)
            if first:
                line.recv(1 << 16)

    return talk


@contextmanager
def web(answer: bytes, kind: str = "text/html") -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd.server_port
        httpd.shutdown()


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def refused(where: str) -> DependencyError:
    started = time.monotonic()
    with pytest.raises(DependencyError) as caught:
        reachable(where)
    assert time.monotonic() - started < 15
    assert caught.value.code is Code.CLUSTER_UNREACHABLE
    assert caught.value.hint
    assert repr(where) in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("ray://head:10001", "Ray Client"),
        ("ray://", "Ray Client"),
        ("http://127.0.0.1:8265", "dashboard"),
        ("https://head", "dashboard"),
        ("redis://a:1", "host:port"),
        ("head", "host:port"),
        ("head:", "host:port"),
        (":6379", "host:port"),
        ("a b:6379", "host:port"),
        ("user@head:6379", "host:port"),
        ("::1:6379", "host:port"),
        ("head:6379/x", "host:port"),
        ("head:0", "1024"),
        ("head:80", "1024"),
        ("head:65536", "1024"),
        ("head:99999", "1024"),
        ("\ud800:6379", ""),
        ("127.0.0.1:6379\n", "host:port"),
        ("x" * 300 + ":6379", ""),
        (".:6379", ""),
    ],
)
def test_what_is_no_address_is_said_at_once(where: str, words: str) -> None:
    assert words in refused(where).message


def test_nothing_listens() -> None:
    assert "nothing listens" in refused(f"127.0.0.1:{closed_port()}").message


def test_a_host_that_is_not_there() -> None:
    assert "cannot be resolved" in refused("no-such-host.invalid:6379").message


def test_a_name_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        threading.Event().wait(2)
        raise socket.gaierror("at last")

    monkeypatch.setattr(address, "_RESOLVE_SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert "timed out" in refused("head:6379").message


@pytest.mark.parametrize("talk", [silent, lambda line: time.sleep(60)])
def test_a_port_that_says_nothing(talk: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_ANSWER_SECONDS", 0.5)
    with server(talk) as port:
        assert "no answer within" in refused(f"127.0.0.1:{port}").message


def test_a_dashboard_names_the_way_to_use_it() -> None:
    with web(json.dumps({"version": "4", "ray_version": "2.60.0"}).encode(), "application/json") as port:
        error = refused(f"127.0.0.1:{port}")
    assert "dashboard of Ray 2.60.0" in error.message
    assert f"raydub submit --address http://127.0.0.1:{port}" in error.hint


@pytest.mark.parametrize("answer", [b"<html>hello</html>", b"[1, 2]", b"", b"\xff\xfe"])
def test_a_web_server(answer: bytes) -> None:
    with web(answer) as port:
        assert "a web server" in refused(f"127.0.0.1:{port}").message


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (says(b"SSH-2.0-OpenSSH_9.2\r\n", first=True), "SSH-2.0"),
        (says(b"-ERR unknown command\r\n"), "-ERR"),
        (says(b"\x15\x03\x01\0\2\2F"), "TLS"),
        (says(b"\0\0\0\7\0\0\0\0\0"), "not Ray"),
        (says(b"\x1b[2J\x07"), "not Ray"),
        (says(b""), "no answer within"),
    ],
)
def test_other_services(talk: Callable[[socket.socket], None], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_ANSWER_SECONDS", 0.5)
    with server(talk) as port:
        message = refused(f"127.0.0.1:{port}").message
    assert words in message
    assert "\x1b" not in message


def test_a_grpc_server_passes() -> None:
    with server(says(SETTINGS)) as port:
        assert reachable(f"127.0.0.1:{port}") == f"127.0.0.1:{port}"
    # in small pieces, as networks do
    with server(lambda line: [(line.send(SETTINGS[i : i + 1]), time.sleep(0.02)) for i in range(9)]) as port:  # type: ignore[arg-type, func-returns-value]
        assert reachable(f"localhost:{port}") == f"localhost:{port}"


def test_with_tls_of_rays_own_only_the_port_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with server(silent) as port:
        assert reachable(f"127.0.0.1:{port}") == f"127.0.0.1:{port}"
    assert "nothing listens" in refused(f"127.0.0.1:{closed_port()}").message


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Ray notes its last cluster; no Ray runs here otherwise."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(address, "_heads_of_raylets", lambda: [])
    path = tmp_path / "ray" / "ray_current_cluster"
    path.parent.mkdir()
    return path


def test_auto_without_any_cluster(noted: Path) -> None:
    error = refused("auto")
    assert "no Ray runs on this machine" in error.message
    assert "ray start --head" in error.hint


@pytest.mark.parametrize("text", ["127.0.0.1:{dead}", "rubbish", "127.0.0.1:{dead}\n", "\udcff"])
def test_auto_with_what_a_dead_head_left(noted: Path, text: str) -> None:
    noted.write_bytes(text.format(dead=closed_port()).encode("utf-8", "surrogateescape"))
    message = refused("auto").message
    assert "no Ray" in message
    assert str(noted) in message


def test_auto_finds_a_living_one_behind_a_dead_one(noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted.write_text(f"127.0.0.1:{closed_port()}")
    with server(says(SETTINGS)) as port:
        monkeypatch.setattr(address, "_heads_of_raylets", lambda: [f"127.0.0.1:{closed_port()}", f"127.0.0.1:{port}"])
        assert reachable("auto") == f"127.0.0.1:{port}"


def test_auto_in_a_ray_job_is_the_cluster_of_the_job(noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Jobs sets RAY_ADDRESS; the last head that was started on this machine may be another one."""
    with server(says(SETTINGS)) as own, server(says(SETTINGS)) as last:
        noted.write_text(f"127.0.0.1:{last}")
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{own}")
        assert reachable("auto") == f"127.0.0.1:{own}"
        monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
        assert reachable("auto") == f"127.0.0.1:{last}"


def test_a_job_whose_cluster_does_not_answer_goes_to_no_other(noted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(SETTINGS)) as last:
        noted.write_text(f"127.0.0.1:{last}")
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port()}")
        assert reachable("auto") == f"127.0.0.1:{last}"
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
        assert "nothing listens there" in refused("auto").message


def test_ipv6() -> None:
    assert parsed("[::1]:6379") == ("::1", 6379)
    with server(says(SETTINGS), socket.AF_INET6) as port:
        assert reachable(f"[::1]:{port}") == f"[::1]:{port}"


@given(st.text())
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    try:
        host, port = parsed(text)
    except DependencyError as error:
        assert error.code is Code.CLUSTER_UNREACHABLE
    else:
        assert host
        assert 1024 <= port <= 65535


@pytest.mark.parametrize("where", ["dead", slow("ray://127.0.0.1:10001"), slow("silent")])
def test_a_run_says_so_and_writes_results(tmp_path: Path, where: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "m.jsonl").write_text(json.dumps({"video": "a.mp4", "audio": "a.wav", "output": "o.mp4"}))
    with server(silent) as port:
        named = {"dead": f"127.0.0.1:{closed_port()}", "silent": f"127.0.0.1:{port}"}.get(where, where)
        command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(tmp_path / "m.jsonl"), "--address", named]
        done = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
    assert done.returncode == EXIT_DEPENDENCY, done.stderr
    assert done.stderr.count("[E_CLUSTER_UNREACHABLE]") == 1
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    [row] = [json.loads(line) for line in (tmp_path / "m.results.jsonl").read_text().splitlines()]
    assert (row["status"], row["error_code"]) == ("skipped", "E_CLUSTER_UNREACHABLE")
