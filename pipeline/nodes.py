"""The nodes of the connected Ray cluster: resources, which are alive, use of their object stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray._private import state as _ray_state

from raydub.pipeline.pools import Node

_FRESH_SECONDS = 3.0
_RAY: Any = ray  # its functions have no types
_state: Any = _ray_state.state  # draining and free resources of a node have no public function in Ray 2.60


MARKET = "ray.io/market-type"
"""Ray's label of a node, with the value "spot" on nodes that may be taken away: by KubeRay, by cluster launchers, or by
RAY_NODE_MARKET_TYPE in the environment of `ray start`."""
_TYPE = "accelerator_type:"


def nodes_now() -> dict[str, Node]:
    """The living nodes by node id, those that are being drained too."""
    leaving = _state.get_draining_nodes()
    return {
        found["NodeID"]: Node(
            float(found["Resources"].get("CPU", 0)),
            float(found["Resources"].get("GPU", 0)),
            (found.get("Labels") or {}).get(MARKET) == "spot",
            found["NodeID"] in leaving,
            _type_of_gpus(found["Resources"]),
        )
        for found in _RAY.nodes()
        if found["Alive"]
    }


def _type_of_gpus(resources: Mapping[str, Any]) -> str:
    """Ray's name of the type of a node's GPUs, "" if it knows none."""
    found = (name.removeprefix(_TYPE) for name in resources if name.startswith(_TYPE))
    return next(found, "")


def free_now() -> dict[str, Node]:
    """What nobody has reserved of each living node, as last reported to Ray."""
    free = _state.available_resources_per_node()
    return {
        name: replace(node, cpus=free.get(name, {}).get("CPU", 0.0), gpus=free.get(name, {}).get("GPU", 0.0))
        for name, node in nodes_now().items()
    }


def rather_stay(nodes: Mapping[str, Node]) -> dict[str, Any]:
    """Options of a task that should not run on a spot node, if others have cores."""
    usable = [node for node in nodes.values() if node.cpus > 0 and not node.leaving]
    if all(node.spot for node in usable) or not any(node.spot for node in usable):
        return {}
    return {"label_selector": {MARKET: "!spot"}, "fallback_strategy": [{"label_selector": {}}]}


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
