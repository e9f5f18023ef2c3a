"""face=active on a real dialogue: whose mouth moves when, whatever the spans; and what cannot be used."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from raydub.errors import Code, InputError
from raydub.media.frames import Transform, open_frames
from raydub.media.info import VideoInfo
from raydub.media.probe import probe_video
from raydub.stages.faces import FaceFinder, FacePlan, WantedFace
from raydub.stages.heard import doubts, voices_in
from raydub.stages.kept_arrays import put_array
from raydub.stages.talkers import Talk, Talker, find_talkers, listen, match_speakers
from raydub.stages.track.active import ActiveFaces, Voices
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.raw import RawTracks
from raydub.stages.types import Span
from raydub.store import Store
from tests.stages.fakes import DEMO

pytest.importorskip("openvino")


def plan_of(info: VideoInfo, work: Path, voices: Voices | None = None) -> FacePlan:
    choice, store = FaceChoice(kind="active"), Store(work)
    track = TrackConfig.plan(choice)
    key = track.key(info.identity)
    return FacePlan(
        wanted=(WantedFace(choice=choice),),
        track=track,
        landmarks=track.landmarks,
        work_dir=store.place,
        track_key=key,
        voices=voices or voices_in(info, store, key),
    )


@pytest.fixture
def duo(media_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(media_dir / "weights"))
    return str(media_dir / "video" / "two_speakers_side_by_side_1024x512_25.mp4")


@pytest.mark.slow
@pytest.mark.media
def test_in_a_dialogue_the_face_that_spoke(duo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = probe_video(duo)
    plan = plan_of(info, tmp_path / "whole")
    with open_frames(info, Transform()) as reader:
        [whole] = FaceFinder(plan).see(reader, Span(0, 200), 200).tracks
        right = whole.box[:, 0] > 512
        truth = np.arange(200) >= 100
        assert ((right == truth) & (whole.limit > 0)).mean() >= 0.95
        # Law 2, with nothing cached before.
        for length in (7, 17, 50):
            finder = FaceFinder(plan_of(info, tmp_path / str(length)))
            for start in range(0, 200 if length > 7 else 140, length):
                span = Span(start, min(start + length, 200))
                [part] = finder.see(reader, span, 200).tracks
                for name in ("present", "box", "landmarks", "lips_open", "limit"):
                    assert np.array_equal(getattr(part, name), getattr(whole, name)[start : span.stop]), name
        # A second run asks no network; a damaged window is computed again, to the same bits.
        assert plan.voices is not None
        kept = Store(tmp_path / "whole").get(f"speaking/{plan.voices.key}/000001")
        assert kept is not None
        asked: list[int] = []
        judged = ActiveFaces._judged

        def counted(self: ActiveFaces, source: object, raw: RawTracks, *more: object) -> object:
            asked.append(int(more[1]))  # type: ignore[call-overload]
            return judged(self, source, raw, *more)  # type: ignore[arg-type]

        monkeypatch.setattr(ActiveFaces, "_judged", counted)
        assert np.array_equal(FaceFinder(plan).see(reader, Span(0, 200), 200).tracks[0].limit, whole.limit)
        assert asked == []
        Path(kept.path).chmod(0o600)
        Path(kept.path).write_bytes(b"PK damaged")
        again = FaceFinder(plan_of(info, tmp_path / "whole")).see(reader, Span(0, 200), 200).tracks[0]
        assert asked == [1]
        assert np.array_equal(again.limit, whole.limit)
    shares = listen(duo, str(tmp_path / "shares"), [np.zeros(128, np.float32)])
    assert shares == [0.0], "nobody looks like that"
    talk = find_talkers(duo, str(tmp_path / "shares"))
    assert len(talk.talkers) == 2
    lines = [
        ("Anna", Fraction(1, 2), Fraction(4)),
        ("Ben", Fraction(4), Fraction(8)),
        ("Off", Fraction(9), Fraction(9)),
    ]
    found = {one.speaker: one for one in match_speakers(talk, lines)}
    assert [found[name].sure for name in ("Anna", "Ben", "Off")] == ["high", "high", "none"]
    assert found["Anna"].talker != found["Ben"].talker


def test_without_sound_nobody_can_be_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydub.stages.heard.require_active_speaker", lambda: tmp_path)
    info = probe_video(str(DEMO / "clip.mp4")).model_copy(update={"has_audio": False})
    with pytest.raises(InputError) as silent:
        voices_in(info, Store(tmp_path / "work"), "key")
    assert (silent.value.code, silent.value.field) == (Code.VIDEO_NO_SOUND, "face")


def test_an_original_in_which_nobody_is_heard_is_doubted(tmp_path: Path) -> None:
    def voices(sounding: list[bool]) -> Voices:
        kept = put_array(Store(tmp_path), "speaking/k/sounding", np.array(sounding))
        return Voices(sha256="", rate=Fraction(25), sounding=kept.path)

    assert [one.partition(":")[0] for one in doubts(voices([False, False]))] == ["W_NOBODY_HEARD"]
    assert doubts(voices([False, True])) == doubts(None) == ()


def talk_of(n: int, *spans: tuple[int, int]) -> Talk:
    talkers = []
    for start, stop in spans:
        speaks = np.zeros(n, np.bool_)
        speaks[start:stop] = True
        talkers.append(Talker(np.zeros(128, np.float32), speaks))
    return Talk(Fraction(25), np.ones(n, np.bool_), tuple(talkers))


def test_speakers_are_matched_with_who_speaks_during_their_lines() -> None:
    def at(start: float, stop: float) -> tuple[Fraction, Fraction]:
        return Fraction(start), Fraction(stop)

    talk = talk_of(500, (0, 100), (100, 200), (400, 420))
    lines = [("A", *at(0, 4.5)), ("B", *at(4, 8)), ("Narrator", *at(9, 15)), ("C", *at(16, 16.5)), ("B", *at(7, 8))]
    found = {one.speaker: one for one in match_speakers(talk, lines)}
    assert [found[name].talker for name in ("A", "B", "C", "Narrator")] == [0, 1, 2, None]
    assert found["A"].share == 1.0, "the half second in which B speaks too does not count"
    assert (found["Narrator"].sure, found["Narrator"].covered) == ("none", 0.0)
    few = match_speakers(talk_of(250, (0, 30)), [("A", *at(0, 4))])
    assert [(one.talker, one.sure) for one in few] == [(0, "low")], "one face, but for a third of the lines"
    # Two speakers of one face: it goes to the one with more of it, the other is named as unmatched.
    both = {one.speaker: one for one in match_speakers(talk_of(200, (0, 200)), [("A", *at(0, 6)), ("B", *at(6, 8))])}
    assert (both["A"].talker, both["B"].talker, both["B"].sure) == (0, None, "none")
    assert [one.talker for one in match_speakers(talk_of(100), [("A", *at(0, 2))])] == [None]
    assert match_speakers(talk, []) == []
