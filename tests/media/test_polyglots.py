"""Sounds that are one thing to one reader and another to the next: what is published is what was probed.

An MP3 whose ID3 tag is followed by a playlist is an MP3 to some versions of FFmpeg and a playlist of another file to
others. raydub has one reader; here a whole job is made of each such file, and the film's sound is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from raydub.errors import InputError
from raydub.media.audio import decode_speech
from raydub.media.sound import sound_blocks
from raydub.stages.stitch import stitch_job
from tests.media.films import sound
from tests.media.watching import opened
from tests.stages.fakes import PaintEngine, make_plan, write_video
from tests.stages.test_job import parts_of

RATE = 44100
OWN, SECRET = 500, 3000
"""Hz of the tones of the file that is given, and of the one that it names."""


def hum(hertz: int, seconds: float = 1.5) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def id3(body: bytes) -> bytes:
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + body


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def polyglots(folder: Path, secret: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of media with playlists of `secret` in them."""
    made = {
        "mp3": sound(folder / "own.mp3", hum(OWN), RATE, "libmp3lame"),
        "wav": sound(folder / "own.wav", hum(OWN), RATE),
        "flac": sound(folder / "own.flac", hum(OWN), RATE, "flac"),
        "ogg": sound(folder / "own.ogg", hum(OWN), 48000, "libopus"),
        "m4a": sound(folder / "own.m4a", hum(OWN), RATE, "aac"),
        "aiff": sound(folder / "own.aiff", hum(OWN), RATE, "pcm_s16be"),
    }
    own = {kind: path.read_bytes() for kind, path in made.items()}
    mp3 = own["mp3"]
    if mp3.startswith(b"ID3"):
        mp3 = mp3[10 + sum(byte << shift for byte, shift in zip(mp3[6:10], (21, 14, 7, 0), strict=True)) :]
    hls = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{secret}\n#EXT-X-ENDLIST\n"
    for kind, words in (
        ("hls", hls.encode()),
        ("concat", f"ffconcat version 1.0\nfile '{secret}'\n".encode()),
    ):
        yield f"{kind}_after_id3.mp3", id3(bytes(10)) + words + mp3
        yield f"{kind}_after_empty_id3.mp3", id3(b"") + words + mp3
        yield f"{kind}_and_blanks_after_id3.mp3", id3(bytes(10)) + words + b"\n" * 2000 + mp3
        yield f"{kind}_in_id3.mp3", id3(words + b"\n" * 5000) + mp3
        yield f"{kind}_in_second_id3.mp3", id3(bytes(10)) + id3(words) + mp3
        yield f"{kind}_after_id3.m3u8", id3(bytes(10)) + words + mp3
        yield f"{kind}_after_id3.flac", id3(bytes(10)) + words + own["flac"]
        yield f"{kind}_in_id3.flac", id3(words) + own["flac"]
        block = struct.pack(">I", (2 << 24) | (len(words) + 4)) + b"abcd" + words
        yield f"{kind}_block.flac", own["flac"][:42] + block + own["flac"][42:]
        yield f"{kind}_first_chunk.wav", chunk(b"RIFF", b"WAVE" + chunk(b"LIST", words) + own["wav"][12:])
        yield f"{kind}_last.wav", own["wav"] + words
        yield f"{kind}_after_id3.wav", id3(bytes(10)) + words + own["wav"]
        yield f"{kind}_last.m4a", own["m4a"] + box(b"free", words)
        yield f"{kind}_first.m4a", box(b"free", words) + own["m4a"]
        brand = box(b"ftyp", b"M4A \0\0\0\0" + words[: len(words) // 4 * 4])
        yield f"{kind}_brand.m4a", brand + own["m4a"][struct.unpack(">I", own["m4a"][:4])[0] :]
        yield f"{kind}_first.ogg", words + own["ogg"]
        yield f"{kind}_last.ogg", own["ogg"] + words
        yield f"{kind}_last.aiff", own["aiff"] + words
        yield f"{kind}_after_id3.aac", id3(bytes(10)) + words


def loudest(path: str) -> int:
    """Hz of the loudest tone in the first second of a file's sound."""
    heard = np.concatenate(list(sound_blocks(path, RATE, 1)))[:RATE, 0]
    return int(np.argmax(np.abs(np.fft.rfft(heard * np.hanning(len(heard))))))


def test_what_is_published_is_what_was_probed(tmp_path: Path) -> None:
    secret = sound(tmp_path / "secret.mp3", hum(SECRET), RATE, "libmp3lame")
    assert loudest(str(secret)) == pytest.approx(SECRET, abs=2)
    engine, video = PaintEngine(), write_video(tmp_path / "v.mp4", 6)
    plan = make_plan(tmp_path, engine, video, str(sound(tmp_path / "own.wav", hum(OWN), RATE)), length="video")
    parts = parts_of(plan, engine)
    published, refused = [], []
    for name, data in polyglots(tmp_path, secret):
        path = tmp_path / name
        path.write_bytes(data)
        with opened(secret) as events:
            try:
                decode_speech(str(path))  # as a job's preparation hears it
            except InputError:
                refused.append(name)
            else:
                made = stitch_job(plan.model_copy(update={"sound": str(path)}), parts)
                published.append(name)
                heard = np.concatenate(list(sound_blocks(made.output, RATE, 1)))[:, 0]
                tones = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), RATE))
                assert tones[OWN] > 20 * tones[SECRET], name
        assert events == [], name
    assert {"hls_after_id3.mp3", "hls_after_empty_id3.mp3"} <= set(published)
    assert len(published) > 15
    assert "hls_after_id3.aac" in refused
