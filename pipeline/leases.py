"""Leases on outputs in buckets, so that two drivers never write the same output, whatever their work folders are.

    <folder of the output>/.raydub.locks/<output>.json     who writes the output: names a lease
    <folder of the output>/.raydub.locks/runs/<run>.json   the lease of a run, written again every BEAT seconds

Claims are created only where there is none, and taken over only from runs whose lease was not written for EXPIRED
seconds by the store's own clock. Whoever takes over ends that lease first, and a lease is only ever replaced by its
run as it wrote it last. So a run that was frozen, or could not reach the store, finds out at its next beat (lost()),
and before it publishes (holds()); the write itself depends on the object that was there (stages.output).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from raydub.errors import Code, RaydubError, StageError
from raydub.objects.names import base_name, join, parent
from raydub.process import born, place, place_of

if TYPE_CHECKING:
    from raydub.objects.prefix import Prefix

FOLDER = ".raydub.locks"
BEAT, EXPIRED = 10.0, 60.0
"""Seconds between two writes of a lease, and after which a lease that was not written is void."""
_LOOK_EVERY = 2.0
_AT_ONCE = 16
_log = logging.getLogger(__name__)


class Leases:
    """The claims of one run. owner: unique for the run. Leases are written by a thread until close()."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._claims: set[str] = set()
        self._etags: dict[str, str] = {}  # of the lease in each folder, as this run wrote it last
        self._lost: set[str] = set()
        self._one = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def claim(self, outputs: Iterable[str]) -> dict[str, RaydubError | None]:
        """Claim outputs. Returns those that could not be claimed: with None if another live run holds the claim, else
        with the error. Waits up to EXPIRED seconds for runs that may have died."""
        wanted = list(dict.fromkeys(outputs))
        refused: dict[str, RaydubError | None] = {}
        for folder in {parent(output) for output in wanted} - self._etags.keys():
            try:
                self._renew(folder)
            except RaydubError as error:
                refused |= {output: error for output in wanted if parent(output) == folder}
        if self._etags and self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="raydub-leases", daemon=True)
            self._thread.start()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            left = [output for output in wanted if output not in refused]
            for output, problem in zip(left, pool.map(self._claim, left), strict=True):
                if problem is not _OURS:
                    refused[output] = problem
        return refused

    def lost(self) -> set[str]:
        """The folders in which another run has ended this run's lease, and may have taken over its outputs. Asks the
        store; one that does not answer has nothing to say."""
        self._beat_once()
        return self._lost

    def close(self) -> None:
        """Give all claims back. Never raises."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(BEAT)
        with contextlib.suppress(RaydubError), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._release, self._claims))
        for folder in self._etags:
            _at(folder).remove(_lease(self._owner))
        self._claims.clear()
        self._etags.clear()

    def _claim(self, output: str) -> RaydubError | None:
        """_OURS, or why not: None for another live run."""
        place, name = _claim(output)
        told = json.dumps({"run": self._owner, "output": output}).encode()
        try:
            while True:
                if place.create(name, told):
                    self._claims.add(output)
                    return _OURS
                found = _read(output)
                if found is None:
                    continue  # given back in this moment
                said, etag = found
                if said.get("run") == self._owner:
                    self._claims.add(output)
                    return _OURS
                if not _ended(place, str(said.get("run"))):
                    return None
                if place.replace(name, told, etag):
                    self._claims.add(output)
                    _log.info("took over the claim on %s from a run that ended", output)
                    return _OURS
        except RaydubError as error:
            return error

    def _release(self, output: str) -> None:
        if holds(output, self._owner):
            place, name = _claim(output)
            place.remove(name)

    def _renew(self, folder: str) -> None:
        with self._one:
            if folder in self._lost:
                return
            place, name, said = _at(folder), _lease(self._owner), json.dumps(self._said()).encode()
            before = self._etags.get(folder)
            now = place.write(name, said) if before is None else place.replace(name, said, before)
            if now is not None:
                self._etags[folder] = now.etag
                return
            self._lost.add(folder)
            _log.warning("%s: another run has ended the lease of this one, and may have taken over its outputs", folder)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            self._beat_once()

    def _beat_once(self) -> None:
        for folder in list(self._etags):
            try:
                self._renew(folder)
            except RaydubError as error:
                _log.warning("the lease in %s cannot be written: %s", folder, error)

    def _said(self) -> dict[str, Any]:
        return {"host": socket.gethostname(), "pid": os.getpid(), "born": born(os.getpid()), "at": time.time()}


_OURS = StageError(Code.INTERNAL, "claimed")


def holds(output: str, owner: str) -> bool:
    """Whether the run still has the claim on this output in a bucket."""
    found = _read(output)
    return found is not None and found[0].get("run") == owner


def refuse_lost(output: str, owner: str) -> None:
    """Raises StageError OUTPUT_BUSY if the run no longer has the claim."""
    if not holds(output, owner):
        message = f"another run has taken over {output}: this one did not renew its lease for {EXPIRED:.0f} s"
        raise StageError(Code.OUTPUT_BUSY, message, hint="wait for the other run to end, then run again")


def _ended(place: Prefix, owner: str) -> bool:
    """Whether the run of a lease has ended. Waits until it is known: the lease is written again, or has expired. Its
    lease is ended then, too, which it cannot miss if it was only frozen."""
    name = _lease(owner)
    first: str | None = None
    while True:
        found = place.see(name)
        if found is None:
            return True
        data, meta = found
        dead = False
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(data)
            if said["host"] == socket.gethostname() and said["born"]:
                if born(said["pid"]) == said["born"]:
                    return False
                dead = _same_place(said["born"])
        if first is not None and meta.etag != first:
            return False
        first = meta.etag
        if dead or _at(join(place.text, FOLDER)).moment() / 1e9 - meta.modified > EXPIRED:
            # In two steps, because no store removes an object only as it was seen.
            if place.replace(name, b"{}", meta.etag):
                place.remove(name)
                return True
            first = None
            continue
        _tell(place.text, owner)
        time.sleep(_LOOK_EVERY)


@functools.lru_cache(maxsize=1000)
def _tell(folder: str, owner: str) -> None:
    """Say once why nothing happens."""
    _log.warning("%s: waiting up to %.0f s to see whether another run (%s) still writes there", folder, EXPIRED, owner)


def _same_place(birth: str) -> bool:
    return place_of(birth) == place() != ""


def _claim(output: str) -> tuple[Prefix, str]:
    """The folder of an output, and the name of its claim there."""
    digest = hashlib.sha256(base_name(output).encode()).hexdigest()[:32]
    return _at(parent(output)), f"{FOLDER}/{digest}.json"


def _lease(owner: str) -> str:
    return f"{FOLDER}/runs/{owner}.json"


def _at(folder: str) -> Prefix:
    from raydub.objects.prefix import Prefix  # only runs with buckets need the client

    return Prefix.at(folder)


def _read(output: str) -> tuple[dict[str, Any], str] | None:
    """What a claim says, {} if it is damaged, and its etag; None if there is none."""
    place, name = _claim(output)
    found = place.see(name)
    if found is None:
        return None
    with contextlib.suppress(ValueError):
        said = json.loads(found[0])
        if isinstance(said, dict):
            return said, found[1].etag
    return {}, found[1].etag
