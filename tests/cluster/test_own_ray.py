"""A Ray of our own is closed: it listens on loopback alone, wants a token, and its files are private."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raydub.tree import below, processes
from tests.cluster.listening import beyond_loopback, listening
from tests.cluster.test_signals import manifest, parts, running, wait_for  # noqa: F401
from tests.conftest import REPOSITORY

TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")

SESSION = """
import json, os, sys
import ray
from raydub.cluster.session.connect import ray_session
auth = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
before = {name: os.environ.get(name) for name in auth}
with ray_session(num_cpus=1):
    @ray.remote
    def pid():
        return os.getpid()
    from ray._private.worker import _global_node
    said = {"address": _global_node.address, "session": _global_node.get_session_dir_path(), "worker": ray.get(pid.remote())}
    said["token"] = os.environ["RAY_AUTH_TOKEN"]
    print(json.dumps(said), flush=True, file=sys.__stdout__)  # sys.stdout is not Ray's to write to
    sys.stdin.readline()
print(json.dumps(before == {name: os.environ.get(name) for name in auth}), flush=True)
"""  # noqa: E501
STRANGER = """
import sys
from ray._raylet import GcsClient
try:
    client = GcsClient(address=sys.argv[1])
    print("in", len(client.get_all_node_info(timeout=5)))
except Exception as error:
    print("out", type(error).__name__)
"""


def closed_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in TOKEN_VARIABLES}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "RAY_BACKEND_LOG_LEVEL": "fatal", **more}


def ask(address: str, **more: str) -> str:
    command = [sys.executable, "-c", STRANGER, address]
    done = subprocess.run(command, env=closed_environment(**more), capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_is_closed_to_others(tmp_path: Path) -> None:
    theirs = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "the user's own, for another cluster"}
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION], cwd=REPOSITORY, env=closed_environment(**theirs), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        wait_for(lambda: select.select([process.stdout], [], [], 1)[0], process)  # type: ignore[arg-type]
        said = json.loads(process.stdout.readline())
        everybody = [process.pid, *below([process.pid], processes())]
        assert said["worker"] in everybody
        sockets = listening(everybody)
        assert len(sockets) >= 4, "the head, the raylet, a worker and the driver listen"
        assert beyond_loopback(sockets) == []
        # another machine's view: an address of this one that is not loopback
        outside = socket.gethostbyname(socket.gethostname())
        port = int(said["address"].rpartition(":")[2])
        if not outside.startswith("127."):
            with pytest.raises(OSError):
                socket.create_connection((outside, port), timeout=3)
        assert ask(said["address"]) == "out AuthenticationError"
        assert ask(said["address"], RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64) == "out AuthenticationError"
        assert ask(said["address"], RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=said["token"]) == "in 1"
        # The way to its unix sockets and logs is closed at the top.
        top = Path(said["session"]).parents[1]
        assert stat.S_IMODE(top.stat().st_mode) == 0o700
        assert top.stat().st_uid == os.getuid()
        written = [path for path in top.rglob("*") if path.is_file()]
        assert written
        assert not [path for path in written if said["token"].encode() in path.read_bytes()]
        assert not [pid for pid in everybody if said["token"] in _command_line(pid)]
        process.stdin.write("\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) is True, "the user's own variables are as they were"
        process.wait(60)
        assert not top.exists()
    finally:
        for pid in [*below([process.pid], processes()), process.pid]:
            if process.poll() is None:
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_whole_run_listens_on_loopback_only(
    manifest: Path,  # noqa: F811
    running: Callable[..., subprocess.Popen[str]],  # noqa: F811
) -> None:
    process = running("--cpus", "2")
    seen: dict[tuple[str, int], int] = {}

    def look() -> bool:
        seen.update(listening([process.pid, *below([process.pid], processes())]))
        return len(parts(manifest)) >= 20

    wait_for(look, process)
    assert len(seen) >= 5
    assert beyond_loopback(seen) == []
    session = [path for path in Path("/tmp").glob("raydub-ray-*") if _owner(path) == process.pid]
    assert len(session) == 1
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    until = time.monotonic() + 10
    while session[0].exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not session[0].exists()


def _owner(folder: Path) -> int | None:
    """The process that holds the folder's lock."""
    inode = f":{(folder / 'raydub.lock').stat().st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].endswith(inode):
            return int(fields[4])
    return None
