"""Who speaks when in a video: the people who have the word (track.speakers), told apart by their faces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from raydub.arrays import F32, I64, U8, Bools
from raydub.blobs import verified
from raydub.errors import Code, InputError
from raydub.media.frames import FrameReader, Transform, open_frames
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr
from raydub.stages.code import TRACKING, running
from raydub.stages.faces import FaceFinder, FacePlan, WantedFace
from raydub.stages.heard import voices_in
from raydub.stages.portraits import portrait_of
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.embed import SAME_PERSON
from raydub.stages.track.landmarks import square_of
from raydub.stages.types import FaceTrack, Span
from raydub.store import Store

_AT_ONCE = 600
"""Frames in memory at a time."""


@dataclass(eq=False)
class Talker:
    """One person. speaks: (n,) bool, has the word in the frame; embedding: the mean of those seen; frame: that of the
    portrait, the one with the largest face, which is in `square`; portrait: (256, 256, 3) uint8, BGR."""

    embedding: F32
    speaks: Bools
    seen: int = 0
    frame: int = -1
    width: float = 0.0
    square: F32 = field(default_factory=lambda: np.zeros(4, np.float32))
    portrait: U8 = field(default_factory=lambda: np.zeros((256, 256, 3), np.uint8))


@dataclass(frozen=True)
class Talk:
    """sounding: (n,) bool, somebody is heard in the frame; talkers: who speaks longest is first."""

    rate: Fraction
    sounding: Bools
    talkers: tuple[Talker, ...]

    @property
    def n_frames(self) -> int:
        """Of the video."""
        return len(self.sounding)


def find_talkers(video: str, work_dir: str, detector: str = "auto", spans: Sequence[Span] = ()) -> Talk:
    """Who speaks in a video, or in spans of its frames only; tracks and scores are kept in the work folder `work_dir`.

    Raises InputError for a video that cannot be read or has no sound (VIDEO_NO_SOUND), DependencyError for absent
    models, StageError STORAGE or DISK_FULL.
    """
    store = Store(work_dir)
    info = probe_video(video, store=store)
    if info.kind != "video":
        raise InputError(Code.VIDEO_NO_SOUND, f"{video} has no sound, so nobody can be heard in it", field="face")
    choice = FaceChoice(kind="active")
    track = TrackConfig.plan(choice, detector, people=True)
    key = track.key(f"{info.identity} {running(TRACKING)} {Transform().model_dump_json()}")
    voices = voices_in(info, store, key)
    wanted = (WantedFace(choice=choice),)
    plan = FacePlan(
        wanted=wanted,
        track=track,
        landmarks=track.landmarks,
        work_dir=store.place,
        track_key=key,
        voices=voices,
    )
    finder, talkers = FaceFinder(plan), list[Talker]()
    with open_frames(info, Transform()) as reader:
        for span in spans or [Span(0, info.n_frames)]:
            for start in range(span.start, span.stop, _AT_ONCE):
                part = Span(start, min(start + _AT_ONCE, span.stop))
                track_of = finder.see(reader, part, info.n_frames).tracks[0]
                _add(talkers, track_of, info.n_frames)
        _portray(talkers, reader)
    sounding = np.load(verified(voices.sounding), allow_pickle=False)
    talkers.sort(key=lambda one: -int(one.speaks.sum()))
    return Talk(info.rate, sounding, tuple(talkers))


_PIECES, _PIECE_SECONDS = 12, 5
"""What listen() looks at, of longer videos."""


def listen(video: str, work_dir: str, people: Sequence[F32], detector: str = "auto") -> list[float]:
    """For how much of a video each of these people (embeddings (128,)) speaks, 0 to 1: of all of it up to a minute, of
    12 pieces of 5 s, evenly spread, of longer ones. Raises what find_talkers() raises."""
    info = probe_video(video)
    piece = max(1, round(_PIECE_SECONDS * info.rate))
    starts = np.linspace(0, max(0, info.n_frames - piece), _PIECES).astype(np.int64).tolist()
    whole = info.n_frames <= _PIECES * piece
    spans = [Span(0, info.n_frames)] if whole else [Span(start, start + piece) for start in starts]
    talk = find_talkers(video, work_dir, detector, spans)
    total = sum(map(len, spans))
    shares = [0.0] * len(people)
    for one in talk.talkers:
        away = [float(np.linalg.norm(one.embedding - person)) for person in people]
        if away and min(away) < SAME_PERSON:
            shares[away.index(min(away))] += float(one.speaks.sum()) / total
    return shares


def _add(talkers: list[Talker], track: FaceTrack, n_frames: int) -> None:
    """Add the frames of a track in which its face has the word."""
    rows = np.flatnonzero(track.present & (track.limit > 0) & track.identity.any(axis=1))
    if not len(rows):
        return
    faces, which = np.unique(track.identity[rows], axis=0, return_inverse=True)
    for number, face in enumerate(faces):
        mine: I64 = rows[which.reshape(-1) == number]
        who = _known(talkers, face, n_frames)
        who.embedding = np.asarray((who.embedding * who.seen + face) / (who.seen + 1), np.float32)
        who.seen += 1
        who.speaks[mine + track.span.start] = True
        squares = np.stack([square_of(marks) for marks in track.landmarks[mine]])
        widths = squares[:, 2] - squares[:, 0]
        best = int(widths.argmax())
        if widths[best] > who.width:
            who.width, who.square = float(widths[best]), squares[best]
            who.frame = int(mine[best]) + track.span.start


def _known(talkers: list[Talker], face: F32, n_frames: int) -> Talker:
    near = min(talkers, key=lambda one: float(np.linalg.norm(one.embedding - face)), default=None)
    if near is None or np.linalg.norm(near.embedding - face) >= SAME_PERSON:
        near = Talker(face, np.zeros(n_frames, np.bool_))
        talkers.append(near)
    return near


def _portray(talkers: list[Talker], reader: FrameReader) -> None:
    wanted: dict[int, list[Talker]] = {}
    for one in talkers:
        wanted.setdefault(one.frame, []).append(one)
    for frame in reader.frames_at(sorted(wanted)):
        for one in wanted[frame.index]:
            one.portrait = portrait_of(to_bgr(frame), one.square)


@dataclass(frozen=True)
class Match:
    """A speaker of a script. talker: the number of the person who speaks during its lines, None for nobody in the
    picture; share: of the frames of its lines in which anybody speaks, those in which this person does; spoken: seconds
    of its lines; covered: share of them in which anybody in the picture speaks; sure: high, low or none."""

    speaker: str
    talker: int | None
    share: float
    spoken: float
    covered: float
    sure: str


HIGH, LOW, COVERED = 0.7, 0.5, 0.2
"""A match is of high confidence from a share of HIGH on, where somebody in the picture speaks for at least LOW of the
lines; of low confidence from a share of LOW on; below it nobody is proposed. Speakers during whose lines somebody in
the picture speaks for less than COVERED of the time are not in the picture."""


def match_speakers(talk: Talk, lines: Iterable[tuple[str, Fraction, Fraction]]) -> list[Match]:
    """Whose face speaks during whose lines. lines: (speaker, start, end in seconds). Times in which lines of two
    speakers overlap count for neither. Each person is given to one speaker: where two want the same, to the one that
    leaves most of all lines with the face that speaks."""
    said: dict[str, Bools] = {}
    for speaker, start, end in lines:
        mask = said.setdefault(speaker, np.zeros(talk.n_frames, np.bool_))
        mask[max(0, round(start * talk.rate)) : max(0, round(end * talk.rate))] = True
    if not said:
        return []
    alone = np.sum(list(said.values()), axis=0) == 1
    spoken = np.array([one.speaks for one in talk.talkers], np.bool_).reshape(-1, talk.n_frames)
    anybody = spoken.any(axis=0)
    frames = np.array([[int((mask & alone & face).sum()) for face in spoken] for mask in said.values()], np.int64)
    given = _assigned(frames)
    found = []
    for row, (speaker, mask) in enumerate(said.items()):
        own = mask & alone
        total, heard = int(own.sum()), int((own & anybody).sum())
        covered = heard / total if total else 0.0
        who = given.get(row)
        share = float(frames[row, who]) / heard if who is not None and heard else 0.0
        clear = share >= HIGH and covered >= LOW
        sure = "none" if covered < COVERED or share < LOW else "high" if clear else "low"
        seconds = float(total / talk.rate)
        found.append(Match(speaker, who if sure != "none" else None, share, seconds, covered, sure))
    return found


def _assigned(frames: Any) -> dict[int, int]:
    """Person by speaker, with the largest sum of frames."""
    if not frames.size:
        return {}
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-frames)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if frames[row, column] > 0}
