"""Check a cluster's address by sockets, within seconds and without importing Ray, because Ray's own client tries for
minutes, or for ever, if something else listens there."""

from __future__ import annotations

import json
import os
import queue
import re
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from raydub.errors import Code, DependencyError

# Together below 15 s. A healthy head on another continent answers each step within half a second.
_RESOLVE_SECONDS = 4.0
_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 3.0

_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # RFC 9113, 3.4: preface, empty SETTINGS
_SETTINGS_FRAME = 4
_LEAST_PORT, _MOST_PORT = 1024, 65535  # Ray accepts no others

START = "start one with `ray start --head`, leave out --address for a local one, or use --no-ray"
HEAD = "give the host:port that `ray start --head` printed (port 6379 unless chosen), leave out --address, or --no-ray"
SUBMIT = "run `raydub submit` with the dashboard's address, or run on a node of the cluster with the head's host:port"


def no_cluster(address: str, found: str, hint: str = HEAD) -> DependencyError:
    """CLUSTER_UNREACHABLE: what was found at the address, and what to do."""
    return DependencyError(Code.CLUSTER_UNREACHABLE, f"no Ray cluster at {address!r}: {found}", hint=hint)


def reachable(address: str) -> str:
    """host:port of a gRPC server, for "auto" or host:port. Returns within 15 s. Raises DependencyError
    CLUSTER_UNREACHABLE, which says what was found instead."""
    if address == "auto":
        return _running_here()
    host, port = parsed(address)
    _look(address, host, port)
    return joined(host, port)


def parsed(address: str) -> tuple[str, int]:
    """Host and port. Raises DependencyError CLUSTER_UNREACHABLE for anything but host:port."""
    scheme, slashes, _ = address.partition("://")
    if slashes and scheme == "ray":
        raise no_cluster(address, "this is a Ray Client address, which raydub does not support", SUBMIT)
    if slashes and scheme in ("http", "https"):
        raise no_cluster(address, "this is the address of a dashboard, not of the cluster's head", SUBMIT)
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/@\[\]]+)):(\d{1,5})", address)
    if not found:
        raise no_cluster(address, "not an address: expected host:port or auto")
    port = int(found[3])
    if not _LEAST_PORT <= port <= _MOST_PORT:
        raise no_cluster(address, f"Ray's ports are {_LEAST_PORT} to {_MOST_PORT}")
    return found[1] or found[2], port


def joined(host: str, port: int) -> str:
    """host:port, with an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(place: str) -> bool:
    """Whether the host of host:port is a loopback address."""
    host = place.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def _running_here() -> str:
    """The cluster that runs on this machine: in a Ray job its own, else the last one started, else any that answers."""
    noted = address_file()
    last = ""
    with suppress(OSError, UnicodeDecodeError):
        last = noted.read_text(encoding="utf-8").strip()
    own = os.environ.get("RAY_ADDRESS", "")
    told: list[str] = []
    own = own if re.fullmatch(r"[^/]+:\d+", own) else ""
    # A job belongs to its cluster: if that does not answer, another one on this machine is not meant.
    others = [] if own and os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") else [last, *_heads_of_raylets()]
    for candidate in dict.fromkeys([own, *others]):
        if not candidate:
            continue
        try:
            host, port = parsed(candidate)
            _look(candidate, host, port)
            return joined(host, port)
        except DependencyError as error:
            told.append(f"{error.message}{f' ({noted} names it)' if candidate == last else ''}")
    if not told:
        raise no_cluster("auto", f"no Ray runs on this machine ({noted} does not exist)", START)
    raise no_cluster("auto", "; ".join(told) + ". Its head has ended", START)


def address_file() -> Path:
    """The file in which `ray start --head` records its address (see ray._common.utils)."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return Path(folder) / "ray" / "ray_current_cluster"


def _heads_of_raylets() -> list[str]:
    """Head addresses of the raylets on this machine, except those of private sessions of raydub runs."""
    from raydub.cluster.session.private import PREFIX

    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode("utf-8", "replace").split("\0")
            private = any(f"/{PREFIX}" in word for word in words)
            if Path(words[0]).name == "raylet" and not private:
                found += [word.partition("=")[2] for word in words if word.startswith("--gcs-address=")]
    return sorted(set(found))


def _look(address: str, host: str, port: int) -> None:
    """Raises DependencyError CLUSTER_UNREACHABLE unless a gRPC server listens there."""
    family, place = _resolved(address, host, port)
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0", "false"):
        _connect(address, family, place).close()  # Ray handles the encryption
        return
    answer = _say(address, family, place, _HTTP2_HELLO)
    if len(answer) >= 9 and answer[3] == _SETTINGS_FRAME:
        return
    if answer[:2] == b"\x15\x03":
        raise no_cluster(address, "a TLS server listens there", "set RAY_USE_TLS=1 and Ray's RAY_TLS_* variables")
    said = answer if answer.startswith(b"HTTP/") else b""
    if not answer or answer.lstrip()[:1] == b"<" or said:
        asked = f"GET /api/version HTTP/1.0\r\nHost: {joined(host, port)}\r\n\r\n".encode()
        said = _say(address, family, place, asked) or said
    if said.startswith(b"HTTP/"):
        raise _web_server(address, host, port, said)
    if answer or said:
        begins = repr((answer or said)[:24].decode("latin-1"))
        raise no_cluster(address, f"the server there is not Ray (its answer begins with {begins})")
    raise no_cluster(address, f"the server there accepts connections, but no answer within {_ANSWER_SECONDS:.0f} s")


def _web_server(address: str, host: str, port: int, said: bytes) -> DependencyError:
    head, _, body = said.partition(b"\r\n\r\n")
    version = ""
    with suppress(ValueError, AttributeError):
        version = str(json.loads(body).get("ray_version", ""))
    if version or b"ray" in head.lower():
        hint = f"run `raydub submit --address http://{joined(host, port)}`, or {HEAD}"
        return no_cluster(address, f"this is the dashboard of Ray {version}, not its head".replace("  ", " "), hint)
    return no_cluster(address, "a web server listens there (perhaps a cluster's dashboard), not a head")


def _resolved(address: str, host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Family and socket address of a host, with a timeout (the thread of a slow lookup ends by itself)."""
    answers: queue.SimpleQueue[object] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0])
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="raydub-resolve", daemon=True).start()
    try:
        found = answers.get(timeout=_RESOLVE_SECONDS)
    except queue.Empty:
        raise no_cluster(address, f"the lookup of {host!r} timed out") from None
    if not isinstance(found, tuple):
        raise no_cluster(address, f"the host {host!r} cannot be resolved: {found}")
    return found[0], found[4]


def _connect(address: str, family: socket.AddressFamily, place: tuple[str, int]) -> socket.socket:
    line = socket.socket(family, socket.SOCK_STREAM)
    line.settimeout(_CONNECT_SECONDS)
    try:
        line.connect(place)
    except OSError as error:
        line.close()
        if isinstance(error, TimeoutError):
            raise no_cluster(address, f"no answer within {_CONNECT_SECONDS:.0f} s (a firewall?)") from error
        what = "nothing listens there" if isinstance(error, ConnectionRefusedError) else (error.strerror or str(error))
        raise no_cluster(address, what, START) from error
    return line


def _say(address: str, family: socket.AddressFamily, place: tuple[str, int], words: bytes) -> bytes:
    """Send some bytes and return up to 4 KiB of the answer that arrive in time."""
    until = time.monotonic() + _ANSWER_SECONDS
    answer = b""
    with _connect(address, family, place) as line, suppress(OSError):
        line.sendall(words)
        while len(answer) < 4096 and (left := until - time.monotonic()) > 0:
            line.settimeout(left)
            piece = line.recv(4096)
            answer += piece
            if not piece or (len(answer) >= 9 and words is _HTTP2_HELLO):
                break
    return answer
