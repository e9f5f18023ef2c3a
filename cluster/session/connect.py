"""The Ray session of a command: connect to a running cluster or start a local one, without output, and shut down only
what we started.

Our own Ray is private to this user and machine: every socket is bound to loopback, each connection needs a token made
for the session, and its files are in a folder that only this user can enter.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from raydub.cluster.session.address import HEAD, START, SUBMIT, is_loopback, no_cluster, reachable
from raydub.cluster.session.private import private_folder
from raydub.errors import Code, DependencyError
from raydub.pipeline.pools import Node
from raydub.process import kept_environment

# A chunk's crops are a few MB, and a few chunks wait between two stages.
_OBJECT_STORE_MB = 512
_LOOPBACK = "127.0.0.1"
_NODE_SECONDS = 4.0  # a raylet that is starting needs about one
_UNIMPLEMENTED = "rpc_code: 12"
_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def asked_address(address: str | None) -> str:
    """The given address, else RAY_ADDRESS, else "local"."""
    return address or os.environ.get("RAY_ADDRESS") or "local"


def is_connected() -> bool:
    """Whether this process is connected to Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def is_own(address: str | None) -> bool:
    """Whether ray_session(address) will start our own Ray, which no other node can join."""
    return not is_connected() and asked_address(address) == "local"


@contextmanager
def ray_session(
    address: str | None = None,
    num_cpus: int | None = None,
    verbose: bool = False,
    folder: Path | None = None,
    found: Callable[[], None] = lambda: None,
) -> Iterator[list[Node]]:
    """Connect to the cluster at `address` ("auto": the running one on this machine, host:port), or start a local Ray if
    there is no address and none in RAY_ADDRESS; yields the nodes. An existing session of this process is used and not
    shut down. folder: for the files of a local Ray, see session.private. found: called when a cluster has answered,
    before joining. Raises DependencyError CLUSTER_UNREACHABLE."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if is_connected():
        yield _nodes()
        return
    # Ray prints lost nodes and dead actors to stdout even with log_to_driver=False, and also during shutdown; stdout is
    # for our own output.
    with redirect_stdout(sys.stderr):
        address = asked_address(address)
        if address == "local":
            yield from _own(num_cpus, verbose, folder)
        else:
            yield from _joined(address, verbose, found)


def _own(num_cpus: int | None, verbose: bool, given: Path | None) -> Iterator[list[Node]]:
    # Ray ends workers after a second without work; the next short job would start and import again, which takes longer
    # than most stitches.
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")
    with nullcontext(given) if given is not None else private_folder() as folder, _own_token():
        own = {"num_cpus": num_cpus, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_MB << 20}
        with on_loopback():
            # Ray makes its folder accessible to all users, but its parent is private.
            _init("local", verbose, **own, _temp_dir=str(folder / "r"))
        try:
            check_loopback()
            yield _nodes()
        finally:
            _shutdown()


def _joined(address: str, verbose: bool, found: Callable[[], None]) -> Iterator[list[Node]]:
    place = reachable(address)
    if address == "auto":
        _use_own_token_file()
    _check_head(address, place)
    found()
    # Otherwise Ray replaces a loopback address by this machine's external one.
    with on_loopback() if is_loopback(place) else nullcontext():
        _init(place, verbose)
    try:
        yield _nodes()
    finally:
        _shutdown()


def _init(address: str, verbose: bool, **more: Any) -> None:
    import ray

    level = logging.INFO if verbose else logging.ERROR
    try:
        with nullcontext() if verbose else _hushed():
            ray.init(address=address, log_to_driver=verbose, logging_level=level, **more)
    except Exception as error:
        # ConnectionError, RuntimeError or ValueError, depending on the cause.
        if address == "local":
            message, hint = (
                f"Ray does not start: {said(error)}",
                "try again if the machine is busy, or use --no-ray",
            )
            raise DependencyError(Code.CLUSTER_UNREACHABLE, message, hint=hint) from error
        raise no_cluster(address, said(error), START) from error
    _quiet_data_log(level)


def _shutdown() -> None:
    import ray

    ray.shutdown()


def said(error: BaseException) -> str:
    """The message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _own_token() -> Iterator[None]:
    """Set a new token for the block. Ray's processes get it by their environment, which only this user can read. This
    process's variables are restored at the end."""
    try:
        with kept_environment(_AUTH):
            os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
            os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
            _read_auth_anew()
            yield
    finally:
        _read_auth_anew()


def _read_auth_anew() -> None:
    """Make Ray read mode and token again: it caches them."""
    from ray._raylet import AuthenticationTokenLoader, Config

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def on_loopback() -> Iterator[None]:
    """Make ray.init(address="local") bind to loopback in the block. On Linux Ray replaces a given loopback address by
    an external one; on Windows and macOS it binds to loopback unless ENABLE_RAY_CLUSTER is set. This selects that
    behaviour."""
    from ray._private import ray_constants

    kept, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = kept


def check_loopback() -> None:
    """Raises DependencyError CLUSTER_UNREACHABLE if the started Ray is reachable from other machines."""
    import ray

    place = ray.get_runtime_context().gcs_address
    if place.rpartition(":")[0] != _LOOPBACK:
        raise DependencyError(
            Code.CLUSTER_UNREACHABLE,
            f"Ray {ray.__version__} does not listen on loopback only (its head is at {place})",
            hint="install the version of Ray that raydub requires, or use --no-ray",
        )


def _use_own_token_file() -> None:
    """Use the token file, as Ray does for a cluster on this machine. Not for one at an address, which would be shown
    the token."""
    from ray._raylet import AuthenticationTokenLoader

    if "RAY_AUTH_MODE" not in os.environ and AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        os.environ["RAY_AUTH_MODE"] = "token"
        _read_auth_anew()


def _check_head(address: str, place: str) -> None:
    """Check that a head of our version accepts our token and has a node on this machine. Raises DependencyError
    CLUSTER_UNREACHABLE."""
    import ray
    from ray._common.usage.usage_lib import get_cluster_metadata
    from ray._private.services import find_node_ids
    from ray._private.utils import compute_version_info
    from ray._raylet import GcsClient
    from ray.exceptions import AuthenticationError

    try:
        with _hushed():
            client = GcsClient(address=place)
            about = get_cluster_metadata(client) or {}
            nodes = client.get_all_node_info(timeout=_NODE_SECONDS)
    except AuthenticationError as error:
        raise no_cluster(address, *_about_token(str(error))) from error
    except Exception as error:
        if _UNIMPLEMENTED in str(error) or str(error).strip() == "RPC error:":
            found = "the gRPC server there is not a head (Ray Client's port, or a worker's)"
            raise no_cluster(address, found, HEAD) from error
        raise no_cluster(address, said(error), HEAD) from error
    theirs, ours = (about.get("ray_version"), about.get("python_version")), compute_version_info()[:2]
    if about and theirs != tuple(ours):
        found = f"it runs Ray {theirs[0]} with Python {theirs[1]}, here is Ray {ours[0]} with Python {ours[1]}"
        raise no_cluster(address, found, "install the cluster's versions here, or run `raydub submit`")
    until = time.monotonic() + _NODE_SECONDS
    living = {node_id.hex() for node_id, node in nodes.items() if node.state == 0}
    while not living & set(find_node_ids()):
        if time.monotonic() > until:
            hint = f"start one here with `ray start --address {place}`, or {SUBMIT}"
            found = f"it answers (Ray {ray.__version__}), but this machine is not one of its nodes"
            raise no_cluster(address, found, hint)
        time.sleep(0.2)
        living |= {node_id.hex() for node_id in client.get_all_node_info(timeout=_NODE_SECONDS)}


def _about_token(error: str) -> tuple[str, str]:
    own = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        found = "it refuses our token" if "missing or incorrect" in error else f"no token: {error}"
    else:
        found = f"it requires a token, but RAY_AUTH_MODE is not token{' (a token is set)' if own else ''}"
    return found, "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"


@contextmanager
def _hushed() -> Iterator[None]:
    """Discard standard error: Ray's native code prints its log level there at any level. Errors are raised as
    exceptions."""
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
    # Importing ray.data configures its log, so it comes first.
    import ray.data  # noqa: F401

    log = logging.getLogger("ray.data")
    log.setLevel(level)
    for handler in log.handlers:
        handler.setLevel(level)


def _nodes() -> list[Node]:
    from raydub.pipeline.nodes import nodes_now

    return list(nodes_now().values())
