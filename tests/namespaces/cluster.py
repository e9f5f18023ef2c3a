"""Ray on machines, and the `raydub` command on its head."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.namespaces.machines import PYTHON, Machine, Network, Run

_PORT = 6379
_STORE = 150 << 20
_ANSWER = "answer: "
# A node that vanishes is noticed after about 3 s; with Ray's defaults it takes 64 s (measured).
_FAST_HEALTH_CHECK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
}
PATIENCE = 230.0
_COMMON = {
    "RAY_AUTH_MODE": "token",
    "RAY_BACKEND_LOG_LEVEL": "warning",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Nodes of one core end idle workers after a second, and the next short task imports everything again.
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    "RAYDUB_OFFLINE": "1",
}


@dataclass
class Cluster:
    """A head and other nodes, started as on real machines: `ray start`, with a token. environment: for Ray's processes
    and for commands, such as credentials. fast: notice lost nodes sooner than by Ray's defaults."""

    network: Network
    environment: Mapping[str, str] = field(default_factory=dict)
    fast: bool = True
    head: Machine = field(init=False)
    nodes: list[Machine] = field(default_factory=list)
    _token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    @property
    def env(self) -> dict[str, str]:
        return {**_COMMON, "RAY_AUTH_TOKEN": self._token, **self.environment}

    def start_head(self, cpus: int = 1) -> Machine:
        """The head, on a new machine."""
        self.head = self.network.add("head")
        more = [f"--system-config={json.dumps(_FAST_HEALTH_CHECK)}"] if self.fast else []
        self._ray(self.head, cpus, "--head", f"--port={_PORT}", "--include-dashboard=false", *more)
        return self.head

    def add_node(self, cpus: int = 1) -> Machine:
        """One more node, on a new machine."""
        node = self.network.add(f"node{len(self.nodes) + 1}")
        self._ray(node, cpus, f"--address={self.head.address}:{_PORT}")
        self.nodes.append(node)
        return node

    def _ray(self, machine: Machine, cpus: int, *more: str) -> None:
        words = [f"--node-ip-address={machine.address}", f"--num-cpus={cpus}", f"--object-store-memory={_STORE}"]
        machine.call(PYTHON, "-m", "ray.scripts.scripts", "start", *words, *more, env=self.env, seconds=90)

    def raydub(self, *words: str, on: Machine | None = None, env: Mapping[str, str] | None = None) -> Run:
        """The `raydub` command on the head or another machine."""
        machine = on or self.head
        return machine.start(PYTHON, "-m", "raydub.cluster.cli", *words, env={**self.env, **(env or {})})

    def ask(self, code: str, seconds: float = 90.0) -> Any:
        """What a program on the head gives to `answer(value)`, connected to the cluster."""
        begin = "import json, ray; ray.init('auto', log_to_driver=False, logging_level='ERROR')\n"
        begin += f"def answer(value): print('{_ANSWER}' + json.dumps(value))\n"
        # Ray prints lost nodes and dead actors on stdout.
        lines = self.head.python(begin + code, self.env, seconds).splitlines()
        return json.loads(next(line for line in lines if line.startswith(_ANSWER)).removeprefix(_ANSWER))

    def alive(self) -> list[str]:
        """Addresses of the nodes that Ray takes for alive, sorted."""
        found: list[str] = self.ask("answer(sorted(n['NodeManagerAddress'] for n in ray.nodes() if n['Alive']))")
        return found


def until(
    true: Callable[[], Any], what: str, run: Run | None = None, seconds: float = PATIENCE, step: float = 0.2
) -> Any:
    """Wait for something to become true and return it; a command that ends meanwhile will not make it so."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        ended = run is not None and run.process.poll() is not None
        assert not ended or true(), f"the command ended before {what}:\n{run and run.said[-4000:]}"
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}:\n{run and run.said[-4000:]}"
        time.sleep(step)
    return found
