"""Six short jobs of real clips, and what their outputs hold, frame by frame."""

from __future__ import annotations

import hashlib
import json
import shutil
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

_SRT = """1
00:00:00,400 --> 00:00:02,000
Buenos días a todos.

2
00:00:02,400 --> 00:00:04,600
Hoy hablamos de las películas.
"""
_VTT = """WEBVTT

00:00:00.300 --> 00:00:02.200
<v Anna>Guten Morgen, wie geht es Ihnen?

00:00:02.500 --> 00:00:04.500
<v Ben>Danke, sehr gut heute.
"""
_CHUNK = 1.0
OPTIONS = ("--set", f"chunk_seconds={_CHUNK}")


def six_jobs(media: Path, folder: Path) -> list[dict[str, Any]]:
    """Write the inputs into `folder`/in and return the manifest's rows, with relative paths: speech from files and from
    scripts, one and two speakers, a still picture, MPEG-1 in, mkv out."""
    into = folder / "in"
    into.mkdir(parents=True, exist_ok=True)
    cut_video(media / "video/webcam_en_720p30.mp4", into / "webcam.mp4", 4.0)
    cut_video(media / "video/source_s18.mp4", into / "talk of s18.mp4", 5.0)
    cut_video(media / "video/two_speakers_side_by_side_1024x512_25.mp4", into / "duo.mp4", 5.0)
    cut_video(media / "video/expressive_d20.mp4", into / "d20.mp4", 4.0)
    shutil.copyfile(media / "video/grid_1.mpg", into / "grid.mpg")
    shutil.copyfile(media / "image/portrait_720p.jpg", into / "portrait.jpg")
    cut_speech(media / "audio/spanish1.wav", into / "es.wav", 4.0)
    cut_speech(media / "audio/french1.wav", into / "fr.wav", 3.0)
    cut_speech(media / "audio/german1.wav", into / "de.wav", 4.0)
    cut_speech(media / "audio/italian1.wav", into / "it.wav", 3.0)
    (into / "s18.srt").write_text(_SRT, encoding="utf-8")
    (into / "duo.vtt").write_text(_VTT, encoding="utf-8")
    return [
        {"id": "webcam", "video": "in/webcam.mp4", "audio": "in/es.wav", "output": "out/webcam.mp4", "upscale": "none"},
        {
            "id": "script",
            "video": "in/talk of s18.mp4",
            "script": "in/s18.srt",
            "language": "es",
            "bed": "duck",
            "output": "out/s18 ñ.mp4",
        },
        {"id": "still", "video": "in/portrait.jpg", "audio": "in/fr.wav", "output": "out/still.mp4"},
        {
            "id": "duo",
            "video": "in/duo.mp4",
            "script": "in/duo.vtt",
            "language": "de",
            "speakers": {"Anna": "left", "Ben": "right"},
            "output": "out/duo.mp4",
        },
        {"id": "mkv", "video": "in/d20.mp4", "audio": "in/de.wav", "output": "out/d20.mkv"},
        {"id": "mpeg1", "video": "in/grid.mpg", "audio": "in/it.wav", "output": "out/grid.mp4", "masking": "always"},
    ]


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def cut_video(source: Path, goal: Path, seconds: float) -> None:
    """The first seconds of picture and sound, encoded again (a cut in packets would not begin at 0)."""
    with av.open(str(source)) as old, av.open(str(goal), "w") as new:
        picture = old.streams.video[0]
        video = new.add_stream("libx264", rate=picture.average_rate, options={"crf": "20", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = picture.width, picture.height, "yuv420p"
        sounds = old.streams.audio[:1]
        audio = new.add_stream("aac", rate=sounds[0].rate) if sounds else None
        for frame in _begin(old.decode(picture, *sounds), seconds):
            if isinstance(frame, av.VideoFrame):
                frame.pict_type = 0  # type: ignore[assignment]
                new.mux(video.encode(frame.reformat(format="yuv420p")))
            elif audio is not None:
                new.mux(audio.encode(frame))
        for stream in [video, *([audio] if audio else [])]:
            new.mux(stream.encode(None))


def _begin(frames: Iterator[Any], seconds: float) -> Iterator[Any]:
    return (frame for frame in frames if frame.time is not None and frame.time < seconds)


def cut_speech(source: Path, goal: Path, seconds: float) -> None:
    """The first seconds of a sound as 16 kHz WAV."""
    from raydub.media.audio import decode_speech

    samples = decode_speech(str(source))[: round(16000 * seconds)]
    with wave.open(str(goal), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())


def frames_of(path: Path) -> str:
    """ "<number> <digest>" of all decoded pictures of a file with their times, in order."""
    digest, count = hashlib.sha256(), 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None
            digest.update(f"{frame.pts * Fraction(frame.time_base or 1)}".encode())
            digest.update(frame.to_ndarray().tobytes())
            count += 1
    return f"{count} {digest.hexdigest()}"


def sound_of(path: Path) -> str:
    """ "<samples> <digest>" of the decoded sound of a file."""
    digest, count = hashlib.sha256(), 0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            digest.update(frame.to_ndarray().tobytes())
            count += frame.samples
    return f"{count} {digest.hexdigest()}"


def outputs_of(folder: Path, rows: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Frames and sound of the outputs of rows below a folder, by name; without those that are not there."""
    there = [row["output"] for row in rows if (folder / row["output"]).is_file()]
    return {name: (frames_of(folder / name), sound_of(folder / name)) for name in there}
