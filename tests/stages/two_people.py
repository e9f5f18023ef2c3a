"""Two people beside each other, made of the demo's clip, and speeches in which each has a time of their own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from raydub.identity import identify
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.speech import SpeechTracks, VoiceTrack
from raydub.media.frames import Frame, Transform, open_frames
from raydub.media.info import Colour
from raydub.media.probe import probe_video
from raydub.media.writer import PartWriter
from tests.stages.fakes import DEMO, babble, write_wav

SIDE = 320
RATE = 16000


def write_two(path: Path, n: int, first: int = 0) -> str:
    """n frames of 640 x 320: the portrait on the left, its mirror image on the right."""
    info = probe_video(str(DEMO / "clip.mp4"))
    with (
        open_frames(info, Transform(resize_height=SIDE)) as reader,
        PartWriter(str(path), (2 * SIDE, SIDE), info.rate, Colour(matrix="bt601"), crf=10) as writer,
    ):
        for frame in reader.frames(first, first + n):
            planes = [np.concatenate([plane, cv2.flip(plane, 1)], axis=1) for plane in (frame.y, frame.u, frame.v)]
            writer.write(Frame(frame.index - first, *planes, frame.colour))
        writer.close()
    return str(path)


def speech_in(path: Path, seconds: float, spans: list[tuple[float, float]], seed: int = 0) -> str:
    """A sound of `seconds` in which somebody babbles within the spans only."""
    samples = np.zeros(round(seconds * RATE))
    for start, stop in spans:
        said = babble(stop - start, seed=seed)
        samples[round(start * RATE) :][: len(said)] = said
    return write_wav(path, samples)


def spoken_job(
    folder: Path, video: str, seconds: float, said: dict[str, list[tuple[float, float]]], **options: object
) -> Job:
    """A job as the speak step leaves it: one voice per face, scoped to the times in which it speaks."""
    voices = []
    for number, (face, spans) in enumerate(said.items()):
        path = speech_in(folder / f"voice-{number}.wav", seconds, spans, number)
        inside = tuple((round(start * RATE), round(stop * RATE)) for start, stop in spans)
        voices.append(VoiceTrack(speaker=face, path=path, identity=identify(path).sha256, face=face, spans=inside))
    sound = speech_in(folder / "sound.wav", seconds, [span for spans in said.values() for span in spans])
    speech = SpeechTracks(
        voices=tuple(voices),
        sound=sound,
        sound_identity=identify(sound).sha256,
        rate=RATE,
        samples=round(seconds * RATE),
        timed=True,
    )
    return Job(
        id="two",
        video=video,
        script="s.srt",
        output=str(folder / "out" / "two.mp4"),
        options=Options.model_validate(options),
        speech=speech,
    )
