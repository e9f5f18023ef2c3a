"""Who speaks: for each clip what it costs, how often a face has the word, and on request a table by seconds.

    python bench/active.py CLIP [CLIP ..] [--seconds N] [--table]

Nothing is kept between calls. Milliseconds are processor time on one core, for each row of a raw track (a face in a
frame), decoding included, tracking not. "speech": of the frames with a face in which somebody is heard, the share in
which a face has the word, and in which a face speaks by its own scores; "silence": the same of frames in which nobody
is heard. In the table each face has its place in the picture, its mean log odds and fit, and its frames with the word.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from raydub.arrays import Bools
from raydub.media.frames import Transform, open_frames
from raydub.media.info import VideoInfo
from raydub.media.probe import probe_video
from raydub.stages.faces import FaceFinder, FacePlan, WantedFace
from raydub.stages.heard import voices_in
from raydub.stages.track.chains import Chain, chains_of
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.speakers import speech_of
from raydub.stages.types import FaceTrack, Span
from raydub.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    for clip in asked.clips:
        with tempfile.TemporaryDirectory() as work:
            look(clip, work, asked.seconds, asked.table)


def look(clip: str, work: str, seconds: float, table: bool) -> None:
    store, choice = Store(work), FaceChoice(kind="active")
    info = probe_video(clip, store=store)
    track = TrackConfig.plan(choice)
    start = time.process_time()
    voices = voices_in(info, store, track.key(info.identity))
    heard = time.process_time() - start
    wanted = (WantedFace(choice=choice),)
    finder = FaceFinder(
        FacePlan(
            wanted=wanted, track=track, landmarks=track.landmarks, work_dir=store.place, track_key="t", voices=voices
        )
    )
    assert finder.tracker is not None
    assert finder.active is not None
    n = min(info.n_frames, round(seconds * info.rate))
    with open_frames(info, Transform()) as reader:
        wide = finder.active.reach(Span(0, n), info.n_frames)
        raw = finder.tracker.raw_tracks(reader, finder._cache(), wide, info.n_frames)
        start = time.process_time()
        scored = finder.active.scored(reader, raw, Span(0, n), info.n_frames)
        spent = time.process_time() - start
        [face] = finder.see(reader, Span(0, n), info.n_frames).tracks
    rows = int((~np.isnan(scored.speaking[:, 0])).sum())
    chains = chains_of(scored, True)
    on = np.zeros(n, np.bool_)
    for chain in chains:
        at = np.flatnonzero(speech_of(chain, info.rate)) + chain.start
        on[at[at < n]] = True
    sounding = scored.sounding[:n]
    print(
        f"{Path(clip).name} {float(info.rate):g} fps, {n} frames: {1000 * spent / max(1, rows):.1f} ms a row, "
        f"{rows} rows, sound {1000 * heard / max(1.0, info.duration):.1f} ms a second; "
        f"speech {_shares(face, on, sounding)}; silence {_shares(face, on, ~sounding)}",
        flush=True,
    )
    for second in range(int(np.ceil(n / float(info.rate)))) if table else ():
        _second(info, second, n, face, chains)


def _shares(face: FaceTrack, on: Bools, when: Bools) -> str:
    here = face.present & when
    count = max(1, int(here.sum()))
    return f"{((face.limit > 0) & here).sum() / count:.3f} {(on & here).sum() / count:.3f} of {here.sum()}"


def _second(info: VideoInfo, second: int, n: int, face: FaceTrack, chains: list[Chain]) -> None:
    frames = np.arange(round(second * info.rate), min(n, round((second + 1) * info.rate)))
    told = []
    for chain in chains:
        at = frames[(frames >= chain.start) & (frames < chain.start + len(chain))]
        if len(at):
            rows = at - chain.start
            mine = (face.limit[at] > 0) & (face.box[at] == chain.box[rows]).all(axis=1)
            odds, fit = np.nanmean(chain.speaking[rows], axis=0)
            told.append(f"at {chain.centre[rows].mean():4.0f}: {odds:+5.1f} {fit:+5.2f} {mine.sum():3d}")
    print(f"  {second:3d} s  {' | '.join(told)}")


if __name__ == "__main__":
    main()
