"""The nodes of the connected Ray cluster: resources, which are alive, use of their object stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

from raydub.pipeline.pools import Node

_FRESH_SECONDS = 3.0
_RAY: Any = ray  # its functions have no types


def nodes_now() -> dict[str, Node]:
    """The living nodes by node id."""
    return {
        found["NodeID"]: Node(float(found["Resources"].get("CPU", 0)), float(found["Resources"].get("GPU", 0)))
        for found in _RAY.nodes()
        if found["Alive"]
    }


def this_node() -> str:
    """Ray's id of this process's node."""
    found: str = ray.get_runtime_context().get_node_id()
    return found


def store_used_mb() -> float:
    """MiB in use of all object stores of the cluster, as last reported to Ray."""
    total, free = _RAY.cluster_resources(), _RAY.available_resources()
    return float(total.get("object_store_memory", 0.0) - free.get("object_store_memory", 0.0)) / (1 << 20)


class LivingNodes:
    """alive(record): whether the node of an attempt's record is still in the cluster. Asks Ray every few seconds at
    most. True if unknown, so that only a known loss of a node excuses a death."""

    def __init__(
        self, ask: Callable[[], Mapping[str, Any]] = nodes_now, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask, self._clock = ask, clock
        self._known: frozenset[str] | None = None
        self._at = float("-inf")

    def __call__(self, record: Mapping[str, Any]) -> bool:
        node = record.get("node")
        if not node:
            return True
        if self._clock() - self._at > _FRESH_SECONDS:
            self._at = self._clock()
            try:
                self._known = frozenset(self._ask())
            except Exception:
                self._known = None
        return self._known is None or node in self._known
