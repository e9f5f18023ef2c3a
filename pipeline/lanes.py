"""Groups of nodes and the chunks that each is working on.

Each group has a dataset of its own, with pools of fixed size, and gets a new chunk whenever one comes out. So a node
that joins gets work without a new plan for the others, and one that leaves takes only its own chunks with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from raydub.pipeline.attempts import Attempts
from raydub.pipeline.events import Dropped, Failed, Item
from raydub.pipeline.pools import Node, Pools, used
from raydub.pipeline.running import Running
from raydub.pipeline.stage import Stage
from raydub.stages.types import Chunk, Part

Key = tuple[str, int]
"""Job and index of a chunk."""


@dataclass(eq=False)
class Lane:
    """One dataset of chunks. nodes: those that it was planned for; window: most chunks at a time while all of them are
    there; moved: time of the last chunk that came out; gpu: whether some of its workers have one; flight: chunks handed
    out that have not come out; idle: how often in a row nobody was seen to work, while its nodes are leaving; lost:
    number of its nodes that are lost; doubt, doubted: chunks that were in flight when the last was, and when that
    was."""

    nodes: Mapping[str, Node]
    window: int
    running: Running
    moved: float
    gpu: bool = False
    flight: dict[Key, Chunk] = field(default_factory=dict)
    idle: int = 0
    lost: int = 0
    doubt: set[Key] = field(default_factory=set)
    doubted: float = 0.0

    def overdue(self, lost: int, now: float, patience: float, worked_on: Callable[[], set[Key]]) -> list[Chunk]:
        """Take back the chunks that were in flight when a node was lost, `patience` seconds ago, if nobody works on
        them. lost: number of nodes lost so far."""
        if lost != self.lost:
            self.lost, self.doubted, self.doubt = lost, now, set(self.flight)
        self.doubt &= self.flight.keys()
        if not self.doubt or now - self.doubted < patience:
            return []
        working = worked_on()
        gone = [key for key in self.flight if key in self.doubt and key not in working]
        self.doubt &= working
        return [self.flight.pop(key) for key in gone]

    def leaving(self, living: Mapping[str, Node]) -> bool:
        """Whether all nodes that are left to it are being drained."""
        left = [living[name] for name in self.nodes if name in living]
        return bool(left) and all(node.leaving for node in left)

    def room(self, living: Mapping[str, Node]) -> int:
        """How many more chunks it should get, by the nodes that are left to it."""
        staying = sum(node.cpus for name, node in self.nodes.items() if name in living and not living[name].leaving)
        share = staying / max(1e-9, sum(node.cpus for node in self.nodes.values()))
        return math.ceil(self.window * share) - len(self.flight)


def window(pools: Pools, stages: Sequence[Stage]) -> int:
    """Chunks in flight that keep all workers of the stages per chunk busy: each has one, and one that waits."""
    return 2 + 2 * sum(pools[stage.name].size for stage in stages if stage.per == "chunk" and stage.name in pools)


def unused(lanes: Sequence[Lane], living: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes to be used (pools.used) that no lane was planned for."""
    keep = used(list(living.values()))
    taken = {name for lane in lanes for name in lane.nodes}
    return {name: node for name, node in living.items() if node in keep and name not in taken}


def joined(
    lanes: Sequence[Lane], living: Mapping[str, Node], free: Mapping[str, Node], need_gpu: bool, late: Set[str]
) -> dict[str, Node]:
    """What a further lane can use: free whole cores and GPUs of unused nodes; {} if there is no core, or no GPU where
    one is needed. late: nodes that are unused for long. What others have of these will not be free soon; on others it
    may be workers that were just ended."""
    new = {}
    for name in unused(lanes, living).keys() & free.keys():
        if name in late or whole(free[name], living[name]):
            cpus, gpus = (math.floor(count + 1e-6) for count in (free[name].cpus, free[name].gpus))
            if cpus:
                new[name] = replace(living[name], cpus=float(cpus), gpus=float(gpus))
    return {} if need_gpu and not any(node.gpus for node in new.values()) else new


def whole(free: Node, node: Node) -> bool:
    """Whether nearly all of a node is free."""
    return free.cpus >= 0.9 * node.cpus and free.gpus >= int(node.gpus)


def works_on(lane: Lane, stages: Sequence[Stage], record: Mapping[str, Any]) -> bool:
    """Whether an attempt's record belongs to a chunk in this lane."""
    stage, _, index = str(record.get("work")).partition(".")
    chunks = {one.name for one in stages if one.per == "chunk"}
    return stage in chunks and index.isdecimal() and (record.get("job"), int(index)) in lane.flight


def worked_on(
    lane: Lane, stages: Sequence[Stage], attempts: Attempts, alive: Callable[[Mapping[str, Any]], bool]
) -> set[Key]:
    """The chunks of this lane that somebody works on."""
    found = set()

    def note(record: Mapping[str, Any]) -> bool:
        if works_on(lane, stages, record) and alive(record):
            found.add((record["job"], int(record["work"].rpartition(".")[2])))
        return False

    attempts.somebody_works(note)
    return found


def key_of(item: Item) -> Key:
    """Job and chunk of what came out of a lane; no chunk's for what is none."""
    if isinstance(item, Part):
        return item.chunk.job_id, item.chunk.index
    if isinstance(item, (Dropped, Failed)) and item.chunk is not None:
        return item.job_id, item.chunk
    return "", -1


def of_job(stages: Sequence[Stage], record: Mapping[str, Any]) -> bool:
    """Whether an attempt's record belongs to a stage per job."""
    name = str(record.get("work")).partition(".")[0]
    return any(stage.name == name and stage.per == "job" for stage in stages)


def planned_on(stages: Sequence[Stage], attempts: Attempts, alive: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Whether somebody works on a job before it is cut into chunks."""
    return attempts.somebody_works(lambda record: of_job(stages, record) and alive(record))
