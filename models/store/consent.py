"""Licences that the user has accepted, and how: by a flag, in the environment, or permanently.

Permanent consent is stored in licences.json in the weights folder, which only `raydub models pull` and `raydub models
accept` write, each after naming the licence. The environment variable holds names, comma-separated; a name may state
how consent was given ("wav2lip-noncommercial:flag"), for workers on other machines, which receive consent this way.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from raydub.errors import DependencyError
from raydub.models.store.folders import read_json, storage_errors, weights_folders, write_json
from raydub.regular import open_regular

ACCEPT_VARIABLE = "RAYDUB_ACCEPT_LICENSE"
Consent = Literal["", "flag", "environment", "remembered"]
_FILE = "licences.json"
_WAYS = ("flag", "environment", "remembered")


def consent_for(licence: str, accepted: Collection[str] = ()) -> Consent:
    """How the user accepted this licence; "" if not. accepted: names given in this call."""
    if licence in accepted:
        return "flag"
    return in_environment().get(licence) or ("remembered" if licence in remembered() else "")


def in_environment() -> dict[str, Consent]:
    """Accepted licences by name, as RAYDUB_ACCEPT_LICENSE says."""
    found: dict[str, Consent] = {}
    for word in os.environ.get(ACCEPT_VARIABLE, "").split(","):
        name, _, way = word.strip().partition(":")
        if name:
            found.setdefault(name, cast(Consent, way) if way in _WAYS else "environment")
    return found


def words(accepted: Collection[str] = ()) -> str:
    """All accepted licences in the form of the environment variable, for workers on other machines, which have another
    licences.json or none."""
    ways: dict[str, str] = {name: "remembered" for name in remembered()} | in_environment()
    ways |= dict.fromkeys(accepted, "flag")
    return ",".join(name if way == "environment" else f"{name}:{way}" for name, way in sorted(ways.items()))


def remembered() -> dict[str, dict[str, str]]:
    """Licences that were accepted permanently: name → {"when": UTC time, "who": user and host}."""
    found: dict[str, dict[str, str]] = {}
    for folder in weights_folders():
        said = read_json(folder / _FILE)
        found |= {name: record for name, record in said.items() if isinstance(record, dict) and name not in found}
    return found


def remember(licence: str) -> Path:
    """Store permanently that the user accepts this licence; an earlier record is kept. Returns the file: in the first
    weights folder where this user may have one, so that users of a shared folder are kept apart.

    Raises DependencyError STORAGE or DISK_FULL.
    """
    problem: DependencyError | None = None
    for folder in weights_folders():
        try:
            return _note(licence, folder / _FILE)
        except DependencyError as error:
            problem = problem or error
    raise problem or AssertionError("no folder")


def _note(licence: str, file: Path) -> Path:
    from filelock import FileLock

    with storage_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", mode=0o666):
            if file.exists():
                open_regular(file).close()  # another user's file is not replaced
            said = read_json(file)
            if not isinstance(said.get(licence), dict):
                record = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "who": _who()}
                write_json(file, {**said, licence: record}, mode=0o600)
    return file


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user may have no name
        return f"{os.getuid()}@{socket.gethostname()}"
