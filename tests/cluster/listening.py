"""Which sockets processes listen on, as the kernel has it (Linux)."""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_LISTEN = "0A"
_CLOSE = "07"  # of UDP sockets: bound, to nobody in particular


def listening(pids: Iterable[int]) -> dict[tuple[str, int], int]:
    """(address, port) of every TCP socket that listens and UDP socket that is bound, of these processes, and one of
    them that holds it."""
    owners: dict[int, int] = {}
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").glob("*") if Path(f"/proc/{pid}/fd").is_dir() else ():
            with suppress(OSError):
                name = os.readlink(fd)
                if name.startswith("socket:["):
                    owners[int(name[8:-1])] = pid
    found = {}
    for table, state in (("tcp", _LISTEN), ("tcp6", _LISTEN), ("udp", _CLOSE), ("udp6", _CLOSE)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == state and int(fields[9]) in owners:
                address, _, port = fields[1].partition(":")
                found[(_text(address), int(port, 16))] = owners[int(fields[9])]
    return found


def beyond_loopback(sockets: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Those that another machine could reach."""
    found = []
    for address, port in sockets:
        parsed = ipaddress.ip_address(address)
        inner = getattr(parsed, "ipv4_mapped", None) or parsed
        if not inner.is_loopback:
            found.append((address, port))
    return found


def _text(address: str) -> str:
    """An address as proc(5) prints it: words of 32 bits in the machine's order."""
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return str(ipaddress.ip_address(b"".join(struct.pack("=I", word) for word in words)))
