"""Items survive the trip through a row of a Ray Data block."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from raydub.errors import Code, InputError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.speech import SpeechTracks, VoiceTrack
from raydub.pipeline.events import Assembled, Dropped, Failed, Item, Planned
from raydub.pipeline.failures import as_raydub_error, failed
from raydub.pipeline.rows import pack, pack_ahead, unpack, unpack_ahead
from raydub.stages.types import Chunk, Gate, Part, Span, SynthesisedChunk, TrackedChunk
from tests.pipeline.fakes import faces

CHUNK = Chunk("jöb", "/w/jobs/k", 3, 9, Span(75, 100))
ITEMS: list[Item] = [
    CHUNK,
    TrackedChunk(CHUNK, faces(CHUNK.span), 2, {"track": 0.5}),
    TrackedChunk(CHUNK, faces(Span(0, 0)), 25),
    SynthesisedChunk(CHUNK, faces(CHUNK.span), 2, {"patches": np.zeros((13, 4, 4, 3), np.uint8)}, {"track": 0.5}),
    Part(CHUNK, "/w/p.mp4", 25, 13, 2, {"render": 1.5}, reused=True),
    Part(CHUNK, "/w/p.mp4", 25, 13, 2, gates=(Gate(0, 75, 80, 0.25), Gate(1, 80, 100, 1.0))),
    dataclasses.replace(CHUNK, key="k" * 64),
    Planned("a", "/w", 9, 225, {"prepare": 1.0}, ("W_X: y",), "warp", ({"name": "n", "sha256": "s", "licence": "l"},)),
    Planned("a", "/w", 9, 225, finished={"status": "ok"}),
    Planned("a", "/w", 9, 225, segments=12, spoken=3, attempt=2),
    failed("a", "track", InputError(Code.INPUT_TRUNCATED, "short", hint="mend"), line=4, chunk=3),
    Dropped("a", 7),
    Assembled("a", "/o.mp4", 225, {"stitch": 0.25}, 2, ("W_TEST: said",)),
]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool(np.array_equal(one, other))
    if dataclasses.is_dataclass(one):
        fields = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(other) and all(same(getattr(one, name), getattr(other, name)) for name in fields)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    return bool(one == other)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_round_trip(item: Item) -> None:
    row = pack(item)
    assert set(row) == {"kind", "job_id", "meta", "blob"}
    assert [type(row[name]) for name in ("kind", "job_id", "meta", "blob")] == [str, str, str, bytes]
    assert same(item, unpack(row))


def test_a_row_holds_the_arrays_and_little_else() -> None:
    tracked = TrackedChunk(CHUNK, faces(CHUNK.span), 2)
    arrays = [getattr(tracked.items, field.name) for field in dataclasses.fields(tracked.items)]
    row = pack(tracked)
    assert len(row["blob"]) <= sum(array.nbytes for array in arrays) + 64 * len(arrays)
    assert len(row["meta"]) < 2000


def test_jobs_travel_too() -> None:
    job = Job(id="a", video="v", audio="b", output="o", line=3)
    assert unpack(pack(job)) == job


SPOKEN = Job(
    id="ä",
    video="v",
    script="s.srt",
    output="o",
    line=3,
    output_root="/r",
    options=Options(voice="ana=es+f3; ben=es", speakers="ana=left; ben=reference:/x/ben;1.png", loudness=-16.5),
    speech=SpeechTracks(
        voices=(
            VoiceTrack(speaker="ana", path="/w/0.flac", identity="i0", face="left", spans=((0, 9), (48000, 96001))),
            VoiceTrack(speaker="ben", path="/w/1.flac", identity="i1", face="right", spans=(), level=-23.0),
            VoiceTrack(speaker="", path="/w/2.flac", identity="i2"),
        ),
        sound="/w/sound.flac",
        sound_identity="i3",
        rate=44100,
        samples=2**40 + 1,
        timed=True,
        segments=12,
        spoken=3,
        run="r",
        report="/w/timing.json",
        warnings=("W_TIMING: cue 3",),
        seconds=1.25,
    ),
)


def test_jobs_travel_with_their_speech() -> None:
    row = pack(SPOKEN)
    assert set(row) == set(pack(ITEMS[0]))
    back = unpack(row)
    assert isinstance(back, Job)
    assert back == SPOKEN
    assert back.speech is not None
    assert back.speech.duration == SPOKEN.speech.duration  # type: ignore[union-attr]
    assert [voice.spans for voice in back.speech.voices] == [((0, 9), (48000, 96001)), (), None]


def test_requests_to_do_work_ahead_travel_too() -> None:
    for job in (SPOKEN, SPOKEN.model_copy(update={"speech": None})):
        row = pack_ahead(job, 24, 31)
        assert [type(row[name]) for name in ("kind", "job_id", "meta", "blob")] == [str, str, str, bytes]
        assert unpack_ahead(row) == (job, 24, 31)


def test_no_row_is_taken_for_another() -> None:
    assert unpack(pack(SPOKEN)) == SPOKEN
    assert unpack_ahead(pack(SPOKEN)) is None
    for item in ITEMS:
        assert unpack_ahead(pack(item)) is None


def test_an_error_is_the_same_after_the_trip() -> None:
    error = InputError(Code.INPUT_TRUNCATED, "short", hint="mend", retryable=True)
    item = unpack(pack(failed("a", "track", error, line=4)))
    assert isinstance(item, Failed)
    back = item.exception()
    assert (type(back), str(back), back.exit_code) == (InputError, str(error), error.exit_code)
    assert back.line == 4
    assert back.retryable


OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})  # torch's, by its name


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), Code.OUT_OF_MEMORY),
        (OutOfMemoryError("CUDA"), Code.OUT_OF_MEMORY),
        (OSError(28, "No space left"), Code.DISK_FULL),
        (PermissionError(13, "no"), Code.STORAGE),
        (TimeoutError("slow"), Code.TIMEOUT),
        (ValueError("x"), Code.INTERNAL),
    ],
)
def test_every_exception_has_a_code(error: Exception, code: Code) -> None:
    known = as_raydub_error(error, "track")
    assert known.code is code
    assert "track" in known.message
    assert pickle.loads(pickle.dumps(known)).code is code
    assert type(error).__name__ in failed("a", "track", error).detail
