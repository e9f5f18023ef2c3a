"""The machines of these tests share nothing that they should not: else a run from bucket to bucket shows nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.namespaces.cluster import Cluster, until
from tests.namespaces.machines import PYTHON, REPOSITORY, Machine, Network, missing


def test_machines_share_no_files_and_no_processes(network: Network, tmp_path: Path) -> None:
    one, two = network.add("one"), network.add("two")
    here = tmp_path / "here.txt"
    here.write_text("on this computer")
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        one.call("sh", "-c", f"echo mine > {folder}/mine.txt")
        assert "mine.txt" not in two.call("ls", folder)
        assert not (Path(folder) / "mine.txt").exists()
    for machine in (one, two):
        assert machine.start("cat", str(here)).wait(20) != 0
        assert "Read-only" in _said_by(machine, "touch", str(REPOSITORY / "touched"))
        assert "Read-only" in _said_by(machine, "touch", "/usr/touched")
        assert machine.call("hostname").strip() == machine.name
        assert str(os.getpid()) not in machine.call("ls", "/proc").split()
    places = {machine.python("from raydub.process import place; print(place())") for machine in (one, two)}
    assert len(places) == 2
    assert one.call("cat", "/tmp/mine.txt") == "mine\n"
    assert [path.read_text() for path in one.disk.rglob("mine.txt")] == ["mine\n", "mine\n"]  # shared memory is none


def test_the_clips_are_hidden(tmp_path: Path) -> None:
    why = missing()
    if why is not None:
        pytest.skip(why)
    # Below the folder for temporary files nothing is visible anyway.
    clips = Path("/usr/share/doc")
    with Network(tmp_path / "machines", [clips]) as network:
        assert network.add("one").call("ls", str(clips)) == ""
    assert list(clips.iterdir())


def test_networks_one_after_another_and_side_by_side(network: Network, tmp_path: Path) -> None:
    for turn in range(3):
        with Network(tmp_path / f"more{turn}") as other:
            assert other.device != network.device


def test_machines_reach_each_other_until_the_cable_is_cut(network: Network) -> None:
    one, two = network.add("one"), network.add("two")
    assert one.address != two.address
    serve = f"import socket\ns = socket.create_server(('{one.address}', 7000)); print('up', flush=True)\n"
    server = one.start(PYTHON, "-c", serve + "while True: s.accept()[0].sendall(b'hello')")
    until(lambda: "up" in server.printed, "the server", server, 20)
    ask = f"import socket; print(socket.create_connection(('{one.address}', 7000), 2).recv(9))"
    assert "hello" in two.python(ask)
    one.cut()
    assert "imed out" in _said_by(two, PYTHON, "-c", ask) or "No route" in _said_by(two, PYTHON, "-c", ask)
    one.cut(off=False)
    assert "hello" in two.python(ask)


def test_a_lost_machine_takes_its_processes_along(network: Network) -> None:
    machine = network.add("one")
    stays = machine.start("sh", "-c", "sleep 1000 & exec sleep 1000")
    until(lambda: machine.call("sh", "-c", "pgrep -c sleep || true") == "2\n", "both", stays, 20)
    machine.lose()
    assert stays.wait(10) != 0
    assert not machine.is_up


def test_nothing_is_left_when_the_tests_are_killed(tmp_path: Path) -> None:
    why = missing()
    if why is not None:
        pytest.skip(why)
    code = (
        "import sys, time; from pathlib import Path; from tests.namespaces.machines import Network\n"
        f"made = Network(Path({str(tmp_path / 'machines')!r})); one = made.add('one')\n"
        "run = one.start('sleep', '1000')\n"
        "print(made.device, one.init, run.process.pid, flush=True); time.sleep(1000)"
    )
    tests = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    device, *said = tests.stdout.readline().split()
    pids = [int(pid) for pid in said]
    assert len(pids) == 2
    assert device in os.listdir("/sys/class/net")
    tests.kill()
    tests.wait(10)
    until(lambda: not any(_runs(pid) for pid in pids), "their end", seconds=20)
    until(lambda: device not in os.listdir("/sys/class/net"), "the cable's end", seconds=20)


@pytest.mark.slow
def test_ray_on_two_machines(network: Network) -> None:
    cluster = Cluster(network)
    cluster.start_head(1)
    node = cluster.add_node(2)
    addresses = sorted([cluster.head.address, node.address])
    assert cluster.alive() == addresses
    code = """
import os, socket, time
@ray.remote(num_cpus=1)
class Where:
    def said(self):
        open('/tmp/seen', 'w').close()
        return [socket.gethostname(), ray.util.get_node_ip_address(), os.getpid()]
answer(ray.get([actor.said.remote() for actor in [Where.remote() for _ in range(3)]]))
"""
    found = cluster.ask(code)
    assert sorted(host for host, _, _ in found) == ["head", "node1", "node1"]
    assert {address for _, address, _ in found} == set(addresses)
    refused = cluster.head.start(PYTHON, "-c", "import ray; ray.init('auto')", env={"RAY_AUTH_MODE": "disabled"})
    assert refused.wait(90) != 0
    assert "token" in refused.said.lower()
    begun = time.monotonic()
    node.lose()
    until(lambda: cluster.alive() == [cluster.head.address], "the loss", seconds=60)
    assert time.monotonic() - begun < 60
    assert cluster.add_node(1).address in cluster.alive()


def _said_by(machine: Machine, *words: str) -> str:
    run = machine.start(*words)
    assert run.wait(30) != 0
    return run.said


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
