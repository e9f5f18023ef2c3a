"""The original sound of a video, as face=active needs it: cepstra for the network that tells which face speaks, the
mouth that the sound calls for, and the frames in which somebody is heard."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from raydub.arrays import F32
from raydub.beat import beat
from raydub.files import discard, storage_error
from raydub.media.activity import Loudness, voiced_frames
from raydub.media.info import VideoInfo
from raydub.media.sound import sound_blocks
from raydub.models.active_speaker import ASD_SHA256, require_active_speaker, require_sound
from raydub.models.cepstra import COUNT, SAMPLE_RATE, CepstraStream
from raydub.models.light_asd import RATE, ROWS
from raydub.models.load import sha256_of
from raydub.models.mel import MelStream
from raydub.models.mouth.infer import EMBEDDED, MouthShapes
from raydub.sealed import key_of
from raydub.stages.audio_features import MelFile
from raydub.stages.code import SPEAKING, running
from raydub.stages.kept_arrays import put_array, read_array
from raydub.stages.track.active import Voices
from raydub.stages.track.ticks import Ticks
from raydub.store import Store


def voices_in(video: VideoInfo, store: Store, tracks: str) -> Voices:
    """What tells who speaks in a video, its sound analysed; kept under a key of `tracks`, the key of its raw tracks, in
    constant memory but for 8 bytes per 10 ms.

    Raises InputError VIDEO_NO_SOUND, and what sound_blocks() raises; what require_active_speaker() raises; StageError
    STORAGE or DISK_FULL.
    """
    require_active_speaker()
    key = key_of([tracks, running(SPEAKING), ASD_SHA256, sha256_of(EMBEDDED)])
    names = {what: f"speaking/{key}/{what}" for what in ("cepstra", "mouth", "sounding")}
    known = {what: found.path for what, name in names.items() if (found := store.get(name)) is not None}
    places = known if len(known) == len(names) else _hear(video, store, names)
    return Voices(sha256=ASD_SHA256, rate=video.rate, work_dir=store.place, key=key, **places)


def doubts(voices: Voices | None) -> tuple[str, ...]:
    """The warning about an original in which nobody is heard. Raises StageError STORAGE."""
    if voices is None or read_array(voices.sounding).any():
        return ()
    return ("W_NOBODY_HEARD: nobody is heard in the original sound, so face=active moves no mouth",)


def _hear(video: VideoInfo, store: Store, names: dict[str, str]) -> dict[str, str]:
    """The blobs of cepstra (4 rows a tick, 13) and mouth (ticks, 2: opening and width as the sound has them), float32,
    and of sounding (n_frames,) bool: somebody is heard in the frame."""
    require_sound(video.path, video.has_audio)
    ticks = Ticks(video.rate, video.n_frames).count
    loudness, stream, columns = Loudness(), CepstraStream(), MelStream()
    temp = store.temp(".npy")
    try:
        with MelFile(store) as mel:
            file = np.lib.format.open_memmap(temp, "w+", np.float32, (ROWS * ticks, COUNT))
            at = 0
            for block in sound_blocks(video.path, SAMPLE_RATE, 1, Fraction(video.start_time).limit_denominator(10**6)):
                beat("prepare")
                samples = block[:, 0]
                loudness.push(samples)
                for more in columns.push(samples):
                    mel.write(more)
                for rows in stream.push(samples):
                    at = _write(file, at, rows)
            for more in columns.finish():
                mel.write(more)
            for rows in stream.finish(max(0, len(file) - at)):
                at = _write(file, at, rows)
            file.flush()
            mouth = _spoken(read_array(mel.put(f"{names['mouth']}-mel").path), ticks)
        cepstra = store.put_file(names["cepstra"], temp, durable=False)
    except OSError as error:
        raise storage_error(error, str(temp)) from error
    finally:
        discard(temp)
    sounding = voiced_frames(loudness.activity(), video.rate, video.n_frames)
    others = {"mouth": mouth, "sounding": sounding}
    return {"cepstra": cepstra.path} | {what: put_array(store, names[what], made).path for what, made in others.items()}


def _write(file: F32, at: int, rows: F32) -> int:
    stop = min(at + len(rows), len(file))
    file[at:stop] = rows[: stop - at]
    return stop


def _spoken(mel: F32, ticks: int) -> F32:
    """(ticks, 2): how far a mouth is open and how wide it is, by the sound, as z-scores."""
    network, made = MouthShapes.load(), np.zeros((ticks, 2), np.float32)
    for start in range(0, ticks, _BLOCK):
        beat("prepare")
        times = (np.arange(start, min(start + _BLOCK, ticks)) + 0.5) / RATE
        said = network.at(mel, times, 1 / RATE)
        made[start : start + _BLOCK] = np.stack([said.open * said.aperture, said.width], axis=1)
    return made


_BLOCK = 1000
"""Ticks at once."""
