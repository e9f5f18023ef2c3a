"""Jobs with scripts, videos with a sound of their own, and where in a track something is heard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.speech import SpeechTracks
from tests.stages.fakes import write_video
from tests.tts.measuring import F32, read

LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 6: "5.1"}
Cue = tuple[float, float, str]


def stamp(seconds: float) -> str:
    """As SRT writes times."""
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02},{whole % 1000:03}"


def write_srt(path: Path, cues: Sequence[Cue]) -> str:
    """(start, end, text) in seconds."""
    blocks = [f"{n}\n{stamp(a)} --> {stamp(b)}\n{text}\n" for n, (a, b, text) in enumerate(cues, 1)]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return str(path)


def write_json(path: Path, segments: Sequence[dict[str, Any]]) -> str:
    """Segments as JSON."""
    path.write_text(json.dumps(segments), encoding="utf-8")
    return str(path)


def sounding_video(path: Path, n: int, sound: F32, sound_rate: int, rate: Fraction = Fraction(25)) -> str:
    """A .mov of n frames; sound: (m, channels), written as PCM of 16 bits."""
    bare = path.with_name(f"{path.stem}-bare.mp4")
    write_video(bare, n, rate)
    samples = np.clip(sound.reshape(len(sound), -1), -1, 1)
    layout = LAYOUTS[samples.shape[1]]
    with av.open(str(bare)) as source, av.open(str(path), "w") as target:
        picture = source.streams.video[0]
        copied = target.add_stream_from_template(picture)
        heard: Any = target.add_stream("pcm_s16le", rate=sound_rate, layout=layout)
        for packet in source.demux(picture):
            if packet.size:
                packet.stream = copied
                target.mux(packet)
        whole = np.ascontiguousarray((samples * 32767).astype("<i2").reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout=layout)
        frame.sample_rate = sound_rate
        for packet in [*heard.encode(frame), *heard.encode(None)]:
            target.mux(packet)
    bare.unlink()
    return str(path)


def job_of(folder: Path, video: str, name: str = "a", line: int | None = None, **said: Any) -> Job:
    """said: script or audio, and options."""
    own = {key: said.pop(key) for key in ("script", "audio") if key in said}
    return Job(
        id=name, video=video, output=str(folder / "out" / f"{name}.mp4"), options=Options(**said), line=line, **own
    )


def report_of(tracks: SpeechTracks) -> dict[str, Any]:
    """The timing report."""
    assert tracks.report is not None
    found: dict[str, Any] = json.loads(Path(tracks.report).read_text(encoding="utf-8"))
    return found


def sound_of(tracks: SpeechTracks, channels: int = 1) -> F32:
    """(n, channels) of what is heard; n is what the tracks say."""
    sound = read(Path(tracks.sound), tracks.rate, channels)
    assert len(sound) == tracks.samples
    return sound


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file under `folder`, and when it was written last."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {str(path): (stat.st_ino, stat.st_mtime_ns) for path, stat in found}


def lag(sound: F32, wanted: F32, at: int, within: int) -> int:
    """By how many samples `wanted` ((m,)) begins later in `sound` ((n,)) than at sample `at`; sought `within` samples
    before and after, by normalised cross-correlation, which has to be plain."""
    padded = np.pad(sound.astype(np.float64), (within, within + len(wanted)))
    piece = padded[at : at + 2 * within + len(wanted)]
    size = 1 << (len(piece) + len(wanted)).bit_length()
    product = np.fft.irfft(np.fft.rfft(piece, size) * np.conj(np.fft.rfft(wanted, size)), size)[: 2 * within + 1]
    found = int(np.argmax(product))
    here = piece[found : found + len(wanted)]
    likeness = product[found] / np.sqrt((here**2).sum() * (wanted.astype(np.float64) ** 2).sum())
    assert likeness > 0.5, likeness
    return found - within
