"""Drawing and encoding in threads beside post-processors: the same part, every beat, errors of each side, no thread
left."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raydub.beat import listening
from raydub.errors import Code, InputError, StageError
from raydub.media.writer import PartWriter
from raydub.stages import render
from raydub.stages.job_plan import JobPlan
from raydub.stages.post_processor import Shown
from raydub.stages.types import Part, SynthesisedChunk
from tests.stages.fakes import PaintEngine, babble, write_wav
from tests.stages.post_processor_fakes import Enlarge, Sign, portrait_with_gap
from tests.stages.test_render_finish import made_of, plan_of

FRAMES = 24


class Watched(Sign):
    """Keeps the threads that it and those around it run in; raises `error` at frame 5."""

    error: BaseException | None = None
    thread: threading.Thread | None = None

    def map(self, shown: Iterable[Shown]) -> Iterator[Shown]:
        for one in super().map(shown):
            self.thread = threading.current_thread()
            if one.frame.index == 5 and self.error is not None:
                raise self.error
            yield one


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobPlan, SynthesisedChunk]:
    folder = tmp_path_factory.mktemp("threads")
    path = portrait_with_gap(folder / "clip.mp4", FRAMES, range(14, 18))
    plan = plan_of(folder, path, write_wav(folder / "a.wav", babble(0.96)), [Enlarge(0.5)], masking="always")
    [made] = made_of(plan)
    return plan, made


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def rendered(work: tuple[JobPlan, SynthesisedChunk], path: Path, watched: Watched | None = None) -> Part:
    stage = render.RenderStage(PaintEngine(), [Enlarge(0.5), watched or Watched()])
    stage.load("cpu")
    return stage.run(work[1], str(path))


def test_the_same_part_as_without_threads(
    work: tuple[JobPlan, SynthesisedChunk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, set[str]] = {}

    def note(kind: type, method: str) -> None:
        inner = getattr(kind, method)

        def call(self: Any, *given: Any) -> Any:
            names.setdefault(method, set()).add(threading.current_thread().name)
            return inner(self, *given)

        monkeypatch.setattr(kind, method, call)

    note(PartWriter, "write")
    note(PaintEngine, "draw")
    heard: list[int] = []
    watched = Watched()
    with listening("render", heard.append):
        part = rendered(work, tmp_path / "threads.mp4", watched)
    assert names == {"write": {"raydub-encode"}, "draw": {"raydub-draw"}}
    assert watched.thread is threading.current_thread(), "networks run where they were loaded"
    assert sum(heard) == part.frames == FRAMES
    monkeypatch.setattr(render, "_WAITING", (0, 0))
    plain = rendered(work, tmp_path / "plain.mp4")
    assert (tmp_path / "threads.mp4").read_bytes() == (tmp_path / "plain.mp4").read_bytes()
    assert (part.synthesised, part.gates) == (plain.synthesised, plain.gates)


@pytest.mark.parametrize("side", ["draw", "network", "encode", "user"])
def test_an_error_of_any_thread_ends_the_stage_with_it(
    work: tuple[JobPlan, SynthesisedChunk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    kinds: dict[str, BaseException] = {
        "draw": InputError(Code.INPUT_TRUNCATED, "frame 7"),
        "network": StageError(Code.OUT_OF_MEMORY, "the card is full"),
        "encode": StageError(Code.DISK_FULL, "no space"),
        "user": KeyboardInterrupt(),
    }
    error, calls, watched = kinds[side], list[int](), Watched()

    def breaks(self: Any, *given: Any) -> None:
        calls.append(1)
        if len(calls) == 7:
            raise error

    if side == "draw":
        monkeypatch.setattr(PaintEngine, "draw", breaks)
    elif side == "encode":
        monkeypatch.setattr(PartWriter, "write", breaks)
    else:
        watched.error = error
    with pytest.raises(type(error)) as raised:
        rendered(work, tmp_path / "p.mp4", watched)
    assert raised.value is error
    assert not (tmp_path / "p.mp4").exists()
    monkeypatch.undo()
    assert rendered(work, tmp_path / "again.mp4").frames == FRAMES


def test_without_post_processors_there_are_no_threads(
    work: tuple[JobPlan, SynthesisedChunk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, found = PartWriter.write, set[threading.Thread]()

    def watched(self: PartWriter, frame: Any) -> None:
        found.add(threading.current_thread())
        write(self, frame)

    monkeypatch.setattr(PartWriter, "write", watched)
    with contextlib.suppress(StageError):  # the plan is of another size
        render.RenderStage(PaintEngine()).run(work[1], str(tmp_path / "p.mp4"))
    assert found == {threading.current_thread()}
