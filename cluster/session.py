"""The Ray session of a command: connect to a running cluster or start a local one, quietly, and end only what we
started."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

from pipeline.pools import Node
from raydub.errors import Code, DependencyError

# A chunk's crops are a few MB and at most a few chunks wait between two stages.
_OBJECT_STORE_MB = 512
_CONNECT_SECONDS = 10.0
_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def is_own(address: str | None) -> bool:
    """Will ray_session(address) start a Ray of our own, to which no node can come later?"""
    ray = sys.modules.get("ray")
    connected = ray is not None and ray.is_initialized()
    return not connected and (address or os.environ.get("RAY_ADDRESS") or "local") == "local"


@contextmanager
def ray_session(address: str | None = None, num_cpus: int | None = None, verbose: bool = False) -> Iterator[list[Node]]:
    """Connect to the cluster at `address` ("auto": the running one on this machine, host:port), or start a local Ray
    when there is no address and none in RAY_ADDRESS; yields the nodes. A session that exists already in this process
    is used and left alone. Raises DependencyError CLUSTER_UNREACHABLE."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        # A Ray of our own listens on this machine only and ends with the command: a token would only be left behind.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        # Ray ends a worker that was idle for a second; for the next short job another one would have to import
        # everything again, which takes longer than most stitches.
        os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")
    import ray

    if ray.is_initialized():
        yield _nodes()
        return
    # Ray prints lost nodes and dead actors to stdout, whatever log_to_driver says, the last of it while it shuts down;
    # stdout belongs to our document.
    with redirect_stdout(sys.stderr):
        _connect(address, num_cpus, verbose)
        try:
            yield _nodes()
        finally:
            ray.shutdown()


def _connect(address: str, num_cpus: int | None, verbose: bool) -> None:
    import ray

    level = logging.INFO if verbose else logging.ERROR
    host, colon, port = address.rpartition(":")
    try:
        if colon and port.isdigit() and "/" not in address:
            # Ray itself would try for minutes before it says that nobody is there.
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        own = {"num_cpus": num_cpus, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_MB << 20}
        with nullcontext() if verbose else _hushed():
            ray.init(
                address=address,
                log_to_driver=verbose,
                logging_level=level,
                **(own if address == "local" else {}),
            )
    except Exception as error:
        # ConnectionError, RuntimeError or ValueError, depending on what Ray found: for the user it is one thing.
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        if address == "local":
            message, hint = f"Ray does not start here: {why}", "is the machine very busy? try again, or use --no-ray"
        else:
            message = f"no Ray cluster at {address!r}: {why}"
            hint = "start one with `ray start --head`, leave out --address for a local one, or use --no-ray"
        raise DependencyError(Code.CLUSTER_UNREACHABLE, message, hint=hint) from error
    _quiet_data_log(level)


@contextmanager
def _hushed() -> Iterator[None]:
    """Standard error goes nowhere: Ray's native code announces its log level there, whatever that level is. What goes
    wrong is raised as an exception."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _quiet_data_log(level: int) -> None:
    # Importing ray.data sets up its log, so it has to come first.
    import ray.data  # noqa: F401

    log = logging.getLogger("ray.data")
    log.setLevel(level)
    for handler in log.handlers:
        handler.setLevel(level)


def _nodes() -> list[Node]:
    from pipeline.nodes import nodes_now

    return list(nodes_now().values())
