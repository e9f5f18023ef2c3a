"""Machines made of Linux namespaces: each has an address, a host name, processes, a disk and shared memory of its own,
and sees the file system of this computer read-only, without its temporary files and without the real clips.

A network is one machine with a bridge (the switch, where the S3 server runs) and others with a cable to it. Everything
lives in namespaces without names, held by one process per machine that ends with its standard input: when the tests
die, however they die, the kernel ends all processes and removes all devices. Nothing has to be swept.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
_TOOLS = ("ip", "unshare", "nsenter", "mount")
_SHM_MB = 400
_SECONDS = 20.0


def missing() -> str | None:
    """Why machines cannot be made here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    gone = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if gone:
        return f"needs {', '.join(gone)} (packages iproute2, util-linux)"
    made = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    return None if made.returncode == 0 else f"this computer allows no namespaces: {made.stderr.strip()}"


@dataclass
class Run:
    """A command that was started on a machine. log: its stderr; out: its stdout."""

    process: subprocess.Popen[bytes]
    log: Path
    out: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def printed(self) -> str:
        return self.out.read_text(errors="replace")

    def wait(self, seconds: float = 300.0) -> int:
        """Its exit code; negative for a signal. Raises AssertionError with its last words if it does not end."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no end within {seconds:.0f} s:\n{self.said[-4000:]}") from None

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """A signal to the command alone; what it started is left to itself."""
        for pid in _children(self.process.pid):  # nsenter waits for the command, which is its child
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
        if signum == signal.SIGKILL:
            self.process.wait(_SECONDS)


class Machine:
    """One machine. disk: a folder of this computer that holds all that it can write, under the same names."""

    def __init__(self, name: str, disk: Path, hidden: Sequence[Path] = ()) -> None:
        self.name, self.disk, self.address = name, disk, ""
        self._runs = 0
        disk.mkdir(parents=True)
        script = "\n".join(_set_up(name, disk, hidden))
        words = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._holder = subprocess.Popen(
            [*words, "bash", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(disk / "init.log").open("wb"),
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            raise RuntimeError(f"machine {name}: {(disk / 'init.log').read_text()}")
        (self.init,) = _children(self._holder.pid)

    @property
    def is_up(self) -> bool:
        return self._holder.poll() is None

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> Run:
        """A command on this machine, with no environment but the given one."""
        self._runs += 1
        logs = self.disk / "logs"
        logs.mkdir(exist_ok=True)
        stem = logs / f"{self._runs:03}-{Path(words[0]).name}"
        out, log = stem.with_suffix(".out"), stem.with_suffix(".log")
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                self._inside(words, env), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
            )
        return Run(process, log, out)

    def call(self, *words: str, env: Mapping[str, str] | None = None, seconds: float = 60.0) -> str:
        """What a command prints. Raises AssertionError if it fails."""
        run = self.start(*words, env=env)
        code = run.wait(seconds)
        assert code == 0, f"{self.name}: {' '.join(words)}: exit {code}\n{run.printed[-2000:]}\n{run.said[-4000:]}"
        return run.printed

    def python(self, code: str, env: Mapping[str, str] | None = None, seconds: float = 60.0) -> str:
        """What a Python program prints."""
        return self.call(PYTHON, "-c", code, env=env, seconds=seconds)

    def cut(self, off: bool = True) -> None:
        """Pull the network cable, or plug it in again: packets vanish, nobody is told."""
        _run("nsenter", "-t", str(self.init), "--net", "ip", "link", "set", "eth0", "down" if off else "up")

    def lose(self, *, silently: bool = True) -> None:
        """The machine is gone from one moment to the next. silently: its connections are not closed, as after a power
        cut; otherwise as when all its processes are killed."""
        if self.is_up and silently:
            self.cut()
        with suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        self._holder.wait(_SECONDS)

    def _inside(self, words: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
        base = {"PATH": f"{Path(PYTHON).parent}:{os.environ['PATH']}", "HOME": "/tmp/home", "LANG": "C.UTF-8"}
        said = [f"{name}={value}" for name, value in {**base, **(env or {})}.items()]
        namespaces = ("--net", "--mount", "--pid", "--uts", "--ipc")
        return ["nsenter", "-t", str(self.init), *namespaces, "--", "env", "-i", "-C", str(REPOSITORY), *said, *words]


def _set_up(name: str, disk: Path, hidden: Sequence[Path]) -> Iterator[str]:
    """The commands of a machine's first process."""
    temporary = Path(tempfile.gettempdir()).resolve()
    folders = list(dict.fromkeys([Path("/var/tmp"), temporary]))  # the disk itself lies in the last one
    boot = disk / "boot_id"
    boot.write_text(f"{secrets.token_hex(4)}-0000-4000-8000-{secrets.token_hex(6)}\n")
    yield "set -eu; mount --make-rprivate /"
    yield f"hostname {name}; ip link set lo up"
    yield f"mount --bind {boot} /proc/sys/kernel/random/boot_id"
    yield f"mount -t tmpfs -o size={_SHM_MB}m shm /dev/shm"
    goals = {folder: disk / "root" / folder.relative_to("/") for folder in folders}
    for goal in goals.values():
        goal.mkdir(parents=True, exist_ok=True)
        yield f"mount --bind {goal} {goal}"  # a mount of its own, which stays writable
    for path in _installation():
        for folder in folders:
            if folder in path.parents:
                goal = disk / "root" / path.relative_to("/")
                goal.mkdir(parents=True, exist_ok=True)
                yield f"mount --bind {path} {goal}; mount -o remount,bind,ro {goal}"
    for path in hidden:
        yield f"mount -t tmpfs -o size=4k,ro nothing {path}"
    yield "mount -o remount,bind,ro /"
    for folder, goal in goals.items():
        yield f"mount --rbind {goal} {folder}"
    yield "mkdir -p /tmp/home; cd /; echo ready; read -r _ || true"


def _installation() -> list[Path]:
    """Where Python, its packages and raydub are."""
    packages = (Path(entry) for entry in sys.path if Path(entry).name == "site-packages")
    found = {REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), *packages}
    outer = [path for path in found if path.is_dir() and not any(other in path.parents for other in found)]
    return sorted(outer)


class Network:
    """A switch with an S3 server's place, and machines with a cable to it. Ends with the block."""

    def __init__(self, folder: Path, hidden: Sequence[Path] = ()) -> None:
        self._folder, self._hidden = folder, hidden
        self.machines: dict[str, Machine] = {}
        self._net = _free_network()
        self.switch = self._machine("s3")
        _in(self.switch, "ip", "link", "add", "br0", "type", "bridge")
        _in(self.switch, "ip", "addr", "add", f"{self._net}.1/24", "dev", "br0")
        _in(self.switch, "ip", "link", "set", "br0", "up")
        self.switch.address = f"{self._net}.1"
        # This computer has a cable too, by which the tests fill and read the bucket. The kernel removes the one of an
        # earlier network a while after its end: each has a name of its own.
        self.device = f"rdub{secrets.token_hex(5)}"
        self._cable(self.device, None, 254)

    def add(self, name: str) -> Machine:
        """One more machine; the name of a lost one may be used again."""
        machine = self._machine(name)
        number = 1 + len(self.machines)
        self._cable("eth0", machine, number)
        machine.address = f"{self._net}.{number}"
        return machine

    def _machine(self, name: str) -> Machine:
        machine = Machine(name, self._folder / f"{len(self.machines)}-{name}", self._hidden)
        self.machines[f"{len(self.machines)}-{name}"] = machine
        return machine

    def _cable(self, device: str, machine: Machine | None, number: int) -> None:
        where = ["netns", str(machine.init)] if machine else []
        _run(
            "ip",
            "link",
            "add",
            "name",
            device,
            *where,
            "type",
            "veth",
            "peer",
            f"port{number}",
            "netns",
            str(self.switch.init),
        )
        _in(self.switch, "ip", "link", "set", f"port{number}", "master", "br0", "up")
        for words in (["addr", "add", f"{self._net}.{number}/24", "dev", device], ["link", "set", device, "up"]):
            _in(machine, "ip", *words)

    def close(self) -> None:
        for machine in reversed(self.machines.values()):
            machine.lose(silently=False)

    def __enter__(self) -> Network:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _free_network() -> str:
    used = _run("ip", "-o", "-4", "addr")
    numbers = [(os.getpid() + step) % 250 for step in range(250)]
    return next(f"10.213.{number}" for number in numbers if f"10.213.{number}." not in used)


def _in(machine: Machine | None, *words: str) -> str:
    """A command of this computer in a machine's network."""
    return _run("nsenter", "-t", str(machine.init), "--net", *words) if machine else _run(*words)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
