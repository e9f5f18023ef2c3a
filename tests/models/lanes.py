"""A card whose lanes work in any order that their marks allow, chosen by chance; copies are done in two halves."""

from __future__ import annotations

import random
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class FakeMark:
    def __init__(self, card: FakeCard) -> None:
        self.card, self.come = card, False

    def wait(self) -> None:
        while not self.come:
            self.card.one_step()


class FakeLane:
    def __init__(self, card: FakeCard) -> None:
        self.card = card
        self.work: deque[Any] = deque()

    def copy(self, target: Tensor, source: Tensor) -> None:
        half = len(source) // 2
        self.work.append(lambda: target[:half].copy_(source[:half]))
        self.work.append(lambda: target[half:].copy_(source[half:]))

    def call(self, work: Callable[[], object]) -> None:
        self.work.append(work)

    def mark(self) -> FakeMark:
        mark = FakeMark(self.card)
        self.work.append(lambda: setattr(mark, "come", True))
        return mark

    def after(self, mark: FakeMark) -> None:
        self.work.append(mark)

    def ready(self) -> bool:
        while self.work and isinstance(self.work[0], FakeMark):
            if not self.work[0].come:
                return False
            self.work.popleft()
        return bool(self.work)


class FakeCard:
    """room: rows above which recording lacks memory. records: rows of each recording; tensors: those alive."""

    def __init__(self, seed: int, room: int = 1000) -> None:
        self._random = random.Random(seed)
        self.lanes: list[FakeLane] = []
        self.room, self.records = room, list[int]()
        self.tensors: weakref.WeakSet[Tensor] = weakref.WeakSet()

    @torch.inference_mode()
    def one_step(self) -> None:
        ready = [lane for lane in self.lanes if lane.ready()]
        assert ready, "the lanes wait for each other"
        self._random.choice(ready).work.popleft()()

    def lane(self) -> FakeLane:
        self.lanes.append(FakeLane(self))
        return self.lanes[-1]

    def host(self, like: Tensor) -> Tensor:
        return self.empty(like)

    def empty(self, like: Tensor) -> Tensor:
        made = torch.full_like(like, 99)
        self.tensors.add(made)
        return made

    def record(
        self, forward: Callable[..., Tensor], inputs: list[Tensor], lane: FakeLane
    ) -> tuple[Callable[[], None], Tensor]:
        self.records.append(len(inputs[0]))
        if len(inputs[0]) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        result = self.empty(forward(*inputs))

        def replay() -> None:
            result.copy_(forward(*inputs))

        return replay, result

    def settle(self) -> None:
        while any(lane.ready() for lane in self.lanes):
            self.one_step()
