"""Clusters and prices as text, for estimates.

A cluster is a list of groups of equal nodes: `COUNTxNODE`, separated by commas. A node is `GPUS x TYPE : CORES cpu`, or
`CORES cpu`; one GPU need not be counted:

    8xH100:16cpu            8 nodes, each with one H100 and 16 cores
    2x8xH100:128cpu         2 nodes, each with 8 H100 and 128 cores
    4xL4:8cpu,10x64cpu      4 nodes with an L4 and 8 cores, and 10 nodes with 64 cores

Prices are per hour: `gpu=2.5` (each GPU), `cpu=0.04` (each core), `node=1` (each node), `H100=2.5` (each GPU of a type,
instead of `gpu`). Names of GPUs have no case.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from raydub.errors import Code, UsageError
from raydub.pipeline.simulated import Host

_NODE = re.compile(r"(?:(?:(?P<gpus>[0-9]{1,9})x)?(?P<gpu>[A-Za-z][A-Za-z0-9._-]*):)?(?P<cpus>[0-9]{1,9})cpu")
_COUNT = re.compile(r"([0-9]{1,9})x(.*)", re.DOTALL)
_WORDS = ("gpu", "cpu", "node")
_MOST_NODES, _MOST_CORES, _MOST_GPUS = 20_000, 4_096, 64
_HINT = "8xH100:16cpu is 8 nodes with one H100 and 16 cores each; 2x8xH100:128cpu; 10x64cpu"


@dataclass(frozen=True)
class Group:
    """Equal nodes. count: may be 0, to see what the first one would change."""

    count: int
    cpus: int
    gpus: int = 0
    gpu: str = ""

    @property
    def node(self) -> str:
        """One node, as parse_cluster() reads it."""
        if not self.gpus:
            return f"{self.cpus}cpu"
        return f"{f'{self.gpus}x' if self.gpus > 1 else ''}{self.gpu}:{self.cpus}cpu"

    def __str__(self) -> str:
        return f"{self.count}x{self.node}"


Cluster = Sequence[Group]


def parse_cluster(text: str) -> tuple[Group, ...]:
    """Read a cluster; equal nodes are one group. Raises UsageError FIELD_VALUE, which names the group."""
    groups: dict[str, Group] = {}
    for place, part in enumerate(text.split(","), 1):
        group = _group(part.strip(), f"group {place}, {part.strip()[:60]!r}")
        known = groups.get(group.node)
        groups[group.node] = replace(group, count=group.count + known.count) if known else group
    total = sum(group.count for group in groups.values())
    if not 1 <= total <= _MOST_NODES:
        raise _wrong(f"{text[:200]!r} has {total} nodes; 1 to {_MOST_NODES} are possible")
    return tuple(groups.values())


def _group(part: str, where: str) -> Group:
    counted = _COUNT.fullmatch(part)
    if counted is None:
        raise _wrong(f"{where}: a group begins with the number of its nodes, in digits, and x")
    found = _NODE.fullmatch(counted[2])
    if found is None:
        if re.fullmatch(r"(?:[0-9]+x)?[A-Za-z][A-Za-z0-9._-]*", counted[2]):
            raise _wrong(f"{where}: the cores of a node are missing, as in {part}:16cpu")
        raise _wrong(f"{where}: {counted[2]!r} is not a node")
    gpus = int(found["gpus"] or 1) if found["gpu"] else 0
    group = Group(int(counted[1]), int(found["cpus"]), gpus, (found["gpu"] or "").upper())
    if not 1 <= group.cpus <= _MOST_CORES:
        raise _wrong(f"{where}: a node has 1 to {_MOST_CORES} cores")
    if found["gpu"] and not 1 <= gpus <= _MOST_GPUS:
        raise _wrong(f"{where}: a node with GPUs has 1 to {_MOST_GPUS}; leave them out for none")
    if group.count > _MOST_NODES:
        raise _wrong(f"{where}: more than {_MOST_NODES} nodes")
    return group


def _wrong(message: str) -> UsageError:
    return UsageError(Code.FIELD_VALUE, message, hint=_HINT, field="--cluster")


def hosts_of(cluster: Cluster) -> list[Host]:
    """All nodes."""
    return [Host(group.cpus, group.gpus, group.gpu) for group in cluster for _ in range(group.count)]


@dataclass(frozen=True)
class Prices:
    """Per hour: node, cpu (a core), gpu; types: GPUs of some types, instead of gpu."""

    gpu: float = 0.0
    cpu: float = 0.0
    node: float = 0.0
    types: Mapping[str, float] = field(default_factory=dict)

    def per_hour(self, cluster: Cluster) -> float:
        """Price of a cluster for an hour."""
        return sum(group.count * self._node(group) for group in cluster)

    def _node(self, group: Group) -> float:
        return self.node + group.cpus * self.cpu + group.gpus * self.types.get(group.gpu, self.gpu)


def parse_prices(text: str, cluster: Cluster) -> Prices:
    """Read prices. Raises UsageError FIELD_VALUE, which names the item, also for a GPU that no node has."""
    types = {group.gpu for group in cluster if group.gpus}
    found: dict[str, float] = {}
    for place, part in enumerate(text.split(","), 1):
        where = f"item {place}, {part.strip()[:60]!r}"
        name, _, value = (piece.strip() for piece in part.partition("="))
        key = name.lower() if name.lower() in _WORDS else name.upper()
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not 0 <= number < math.inf:
            raise _price(f"{where} is not NAME=NUMBER")
        if key not in (*_WORDS, *types):
            raise _price(f"{where}: {name} is none of {', '.join((*_WORDS, *sorted(types)))}")
        if key in found:
            raise _price(f"{where}: {name} is priced twice")
        found[key] = number
    known = {name: found.pop(name) for name in _WORDS if name in found}
    return Prices(**known, types=found)


def _price(message: str) -> UsageError:
    return UsageError(Code.FIELD_VALUE, message, hint="gpu=2.5,cpu=0.04 or H100=2.5,node=1, per hour", field="--price")
