"""Sound on the film's clock: late and early streams, holes, every layout; and FLAC that is whole or not there."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError, StageError
from raydub.media.flac import SoundWriter
from raydub.media.info import ProbeLimits
from raydub.media.probe import probe_video
from raydub.media.sound import BLOCK_FRAMES, SoundShape, resample, sound_blocks, sound_shape
from tests.examples import examples
from tests.ffmpeg import ffmpeg_program, is_pinned
from tests.media.films import film
from tests.tts.measuring import babble, read, tone, write

RATE = 48000


def shift_of(heard: np.ndarray, wanted: np.ndarray) -> int:
    """Samples by which `heard` comes later than `wanted`, by cross-correlation."""
    from scipy.signal import correlate

    return int(np.abs(correlate(heard, wanted, method="fft")).argmax()) - (len(wanted) - 1)


def stamped(path: Path, pieces: list[tuple[float, np.ndarray]], rate: int = RATE, codec: str = "pcm_s16le") -> Path:
    """A file whose packets begin at the given seconds."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        for seconds, samples in pieces:
            whole = np.round(samples * 32767).astype(np.int16)
            for start in range(0, len(whole), 1000):
                frame = av.AudioFrame.from_ndarray(whole[None, start : start + 1000], format="s16", layout="mono")
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = round(seconds * rate) + start
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_program(), "-nostdin", "-y", "-loglevel", "error", *arguments], check=True)


@pytest.mark.parametrize("begin", [0.0, 0.75, 2.5])
@pytest.mark.parametrize("origin", [Fraction(0), Fraction(1, 2), Fraction(1001, 1000)])
def test_sound_stands_where_its_time_says(tmp_path: Path, begin: float, origin: Fraction) -> None:
    sound = babble(2.0, RATE)
    path = stamped(tmp_path / "x.mkv", [(begin, sound)])
    heard = read(path, RATE, 1, origin)[:, 0]
    at = round((Fraction(begin) - origin) * RATE)
    wanted = np.pad(sound, (at, 0)) if at >= 0 else sound[-at:]
    assert len(heard) == len(wanted)
    assert np.abs(heard - wanted).max() < 1e-4
    assert np.abs(read(path, RATE, 1)[:, 0] - sound).max() < 1e-4


def test_sound_that_ends_before_the_origin_is_no_sound(tmp_path: Path) -> None:
    path = stamped(tmp_path / "x.mkv", [(0.0, babble(1.0, RATE))])
    assert list(sound_blocks(str(path), RATE, 2, Fraction(5))) == []


def test_holes_are_silent_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    first, second, third = babble(1.0, RATE, 1), babble(0.5, RATE, 2), babble(0.7, RATE, 3)
    path = stamped(tmp_path / "x.mkv", [(0.0, first), (1.6, second), (2.11, third)])
    heard = read(path, RATE, 1, Fraction(0))[:, 0]
    assert np.abs(heard[: len(first)] - first).max() < 1e-4
    assert (heard[RATE : round(1.6 * RATE) - 1] == 0).all()
    assert shift_of(heard, second) == round(1.6 * RATE)
    # Ten milliseconds are within what containers' clocks are off by: no cut is made for them.
    assert abs(shift_of(heard, third) - round(2.1 * RATE)) <= 1


def test_overlaps_are_cut_and_a_restarted_clock_goes_on(tmp_path: Path) -> None:
    """Recordings that were joined as bytes."""
    parts = {}
    for name, number, offset in (("first", 1, 10.0), ("overlapping", 2, 12.7), ("restarted", 3, 10.0)):
        raw = write(tmp_path / f"{name}.flac", babble(3.0, RATE, number), RATE)
        out = tmp_path / f"{name}.ts"
        codec = ["-c:a", "mp2", "-b:a", "192k", "-output_ts_offset", str(offset), "-muxdelay", "0"]
        ffmpeg("-i", str(raw), *codec, str(out))
        parts[name] = out.read_bytes()
    for second, number, at in (("overlapping", 2, 2.7), ("restarted", 3, 3.0)):
        path = tmp_path / f"joined_{second}.ts"
        path.write_bytes(parts["first"] + parts[second])
        heard = read(path, RATE, 1)[:, 0]
        late = babble(3.0, RATE, number)[RATE:]
        assert shift_of(heard, late) / RATE == pytest.approx(at + 1, abs=0.02)
        assert len(heard) / RATE == pytest.approx(at + 3, abs=0.06)


@pytest.mark.parametrize("rates", [(22050, 48000), (16000, 44100), (48000, 44100), (44100, 48000), (8000, 48000)])
def test_resampling_moves_nothing(tmp_path: Path, rates: tuple[int, int]) -> None:
    old, new = rates
    seconds, top = 1.5, 0.4 * min(rates)

    def chirp(rate: int) -> np.ndarray:
        time = np.arange(round(seconds * rate)) / rate
        return (0.5 * np.sin(2 * np.pi * (50 + (top - 50) / seconds / 2 * time) * time)).astype(np.float32)

    sound = chirp(old)
    ours = resample(sound, old, new)
    assert len(ours) == round(Fraction(len(sound) * new, old))
    middle = slice(new // 50, -new // 50)
    # At the chirp's steepest, a shift of 10 µs would make a difference of 0.1 and more.
    assert np.abs(ours[middle] - chirp(new)[middle]).max() < 1e-3
    streamed = read(write(tmp_path / "x.flac", sound, old), new, 1)[:, 0]
    assert abs(len(streamed) - len(ours)) <= 1
    assert np.abs(streamed[middle] - ours[: len(streamed)][middle]).max() < 1e-4
    impulse = np.zeros(old, np.float32)
    impulse[old // 2] = 1
    assert np.abs(resample(impulse, old, new)).argmax() == pytest.approx(new / 2, abs=1e-4 * new)


@settings(deadline=None, max_examples=examples(30))
@given(st.integers(0, 5000), st.integers(1000, 96000), st.integers(1000, 96000))
def test_resampled_length_is_exact(count: int, old: int, new: int) -> None:
    assert len(resample(np.zeros(count, np.float32), old, new)) == round(Fraction(count * new, old))


def test_layouts(tmp_path: Path) -> None:
    left, right = tone(1, RATE, 300), tone(1, RATE, 1100)
    stereo = write(tmp_path / "stereo.flac", np.stack([left, right], axis=1), RATE)
    assert sound_shape(str(stereo)) == SoundShape(RATE, 2)
    assert np.allclose(read(stereo, RATE, 1)[:, 0], (left + right) / 2, atol=1e-6)
    mono = write(tmp_path / "mono.flac", left, RATE)
    assert np.allclose(read(mono, RATE, 2), np.stack([left, left], axis=1), atol=1e-6)
    for name, count in (("5.1", 6), ("3.0", 3), ("7.1", 8), ("hexadecagonal", 16)):
        path = tmp_path / f"{count}.wav"
        voices = "|".join(["0"] * (count - 1))
        centre = f"0|0|0.3*sin(2*PI*300*t)|{voices[4:]}" if count > 3 else "0|0|0.3*sin(2*PI*300*t)"
        ffmpeg("-f", "lavfi", "-i", f"aevalsrc=exprs={centre}:c={name}:s={RATE}:d=1", str(path))
        assert sound_shape(str(path)) == SoundShape(RATE, count)
        heard = read(path, RATE, 2)
        assert heard.shape == (RATE, 2)
        level = np.abs(heard).max(axis=0)
        assert level[0] == pytest.approx(level[1], abs=1e-3)
        assert 0.01 < level[0] < 0.3 if count == 16 else level[0] == pytest.approx(0.3 * np.sqrt(0.5), abs=0.01)


def test_blocks_have_one_size_and_can_be_left(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", babble(5, RATE), RATE)
    sizes = [len(block) for block in sound_blocks(str(path), 44100, 2)]
    assert set(sizes[:-1]) == {BLOCK_FRAMES}
    assert sum(sizes) == pytest.approx(5 * 44100, abs=2)
    with contextlib.closing(sound_blocks(str(path), RATE, 1)) as blocks:
        next(blocks)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "ts", "mpg"])
@pytest.mark.parametrize("delay", [-0.4, 0.0, 0.6])
def test_sound_keeps_its_place_against_the_picture(tmp_path: Path, suffix: str, delay: float) -> None:
    """Edit lists, priming samples and clocks that begin anywhere, as muxers write them."""
    sound = babble(2.5, RATE)
    picture = film(tmp_path / "picture.mp4", range(60))
    raw = write(tmp_path / "raw.flac", sound, RATE)
    both = tmp_path / f"both.{suffix}"
    inputs = ["-itsoffset", str(max(-delay, 0)), "-i", str(picture), "-itsoffset", str(max(delay, 0)), "-i", str(raw)]
    codecs = ["-c:v", "mpeg2video" if suffix == "mpg" else "copy", "-c:a", "mp2" if suffix in ("ts", "mpg") else "aac"]
    ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", *codecs, "-b:a", "192k", "-fps_mode", "passthrough", str(both))
    origin = Fraction(probe_video(str(both)).start_time).limit_denominator(1_000_000)
    heard = read(both, RATE, 1, origin)[:, 0]
    late = sound[RATE:]
    # Matroska counts milliseconds, MPEG 90000ths; both clocks are rounded.
    assert abs(shift_of(heard, late) - round((1 + delay) * RATE)) <= (
        48 if suffix == "mkv" else 1 if is_pinned() else 32
    )
    if delay > 0:
        assert np.abs(heard[: round((delay - 0.05) * RATE)]).max() == 0


@pytest.mark.media
def test_real_files(media_dir: Path) -> None:
    video = media_dir / "video"
    for name, shape, seconds in [
        ("webcam_en_720p30.mp4", SoundShape(44100, 1), 9.967),
        ("screen_capture_no_face_3ch.mp4", SoundShape(24000, 3), 9.995),
        ("av_offset_3_frames_224_25.avi", SoundShape(16000, 1), 12.68),
        ("grid_1.mpg", SoundShape(44100, 2), 2.978),
        ("vfr_700x700.mp4", SoundShape(44100, 2), 6.107),
    ]:
        path = video / name
        assert sound_shape(str(path)) == shape
        heard = read(path, RATE, 2)
        assert len(heard) / RATE == pytest.approx(seconds, abs=0.002), name
        # All of these have sound from 0 on; the last one's picture begins a frame later.
        start = Fraction(probe_video(str(path)).start_time).limit_denominator(1_000_000)
        assert (start > 0) == (name == "vfr_700x700.mp4")
        own = read(path, shape.rate, 2)
        assert np.array_equal(read(path, shape.rate, 2, start), own[round(start * shape.rate) :])
    assert sound_shape(str(video / "no_audio_track_25.mp4")) is None
    with pytest.raises(InputError) as caught:
        next(sound_blocks(str(video / "no_audio_track_25.mp4"), RATE, 2))
    assert caught.value.code == Code.SPEECH_NO_STREAM


def test_bad_input(tmp_path: Path) -> None:
    whole = write(tmp_path / "x.flac", babble(3, RATE), RATE)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "list.wav").write_text("#EXTM3U\n/etc/passwd\n")
    cases = {"none.wav": Code.INPUT_MISSING, "empty.wav": Code.INPUT_EMPTY, "list.wav": Code.INPUT_PLAYLIST}
    for name, code in cases.items():
        with pytest.raises(InputError) as caught:
            sound_shape(str(tmp_path / name))
        assert caught.value.code == code
        assert name in caught.value.message
    with pytest.raises(InputError):
        next(sound_blocks(str(tmp_path / "text.wav"), RATE, 2))
    with pytest.raises(InputError) as caught:
        list(sound_blocks(str(whole), RATE, 1, limits=ProbeLimits(max_seconds=2)))
    assert caught.value.code == Code.INPUT_LIMIT
    with pytest.raises(InputError) as caught:
        sound_shape(str(whole), ProbeLimits(max_sample_rate=44100))
    assert caught.value.code == Code.INPUT_LIMIT
    # A clock that says "in ten years" is refused before ten years of silence are made.
    late = stamped(tmp_path / "late.mkv", [(0.0, babble(0.5, RATE)), (3e8, babble(0.5, RATE))])
    with pytest.raises(InputError) as caught:
        list(sound_blocks(str(late), RATE, 1, Fraction(0)))
    assert caught.value.code == Code.INPUT_LIMIT


def test_samples_that_are_not_numbers(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    ffmpeg("-f", "lavfi", "-i", "aevalsrc=exprs=0.1:s=48000:d=1", "-c:a", "pcm_f32le", str(path))
    data = bytearray(path.read_bytes())
    data[-4000:-3996] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read(path, RATE, 1)
    assert caught.value.code == Code.INPUT_UNREADABLE


def test_flac_keeps_24_bits_and_its_length(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, (100_003, 2)).astype(np.float32)
    path = tmp_path / "deep" / "x.flac"
    with SoundWriter(str(path), 44100, 2) as writer:
        for start in range(0, len(sound), 7777):
            writer.write(sound[start : start + 7777])
        writer.publish()
        assert writer.frames == len(sound)
        assert writer.clipped == 0
    assert np.abs(read(path, 44100, 2) - sound).max() <= 2.0**-23
    with av.open(str(path)) as opened:
        assert opened.streams.audio[0].codec_context.name == "flac"
        assert opened.streams.audio[0].duration == len(sound)
    assert os.listdir(path.parent) == ["x.flac"]


def test_flac_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    with contextlib.suppress(RuntimeError), SoundWriter(str(path), RATE, 1) as writer:
        writer.write(np.zeros((RATE, 1), np.float32))
        raise RuntimeError
    with pytest.raises(StageError) as caught, SoundWriter(str(path), RATE, 1) as writer:
        writer.write(np.full((10, 1), np.nan, np.float32))
    assert caught.value.code == Code.ENCODE_FAILED
    with SoundWriter(str(path), RATE, 1) as writer:
        writer.write(np.zeros((10, 1), np.float32))
    assert os.listdir(tmp_path) == []
    with SoundWriter(str(path), RATE, 1) as writer:
        with pytest.raises(ValueError, match="shape"):
            writer.write(np.zeros((10, 2), np.float32))
        writer.write(np.array([[1.5], [-1.5], [1.0], [-1.0]], np.float32))
        writer.publish()
        assert writer.clipped == 2
    assert np.abs(read(path, RATE, 1)[:, 0] - [1, -1, 1, -1]).max() < 1e-6
    with SoundWriter(str(tmp_path / "none.flac"), RATE, 1) as writer:
        writer.publish()
    assert list(sound_blocks(str(tmp_path / "none.flac"), RATE, 1)) == []


def test_full_disk_is_said(tmp_path: Path) -> None:
    """A limit on the size of files is as near to a full disk as a test comes without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = np.random.default_rng(0).uniform(-1, 1, (RATE * 4, 2)).astype(np.float32)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        with pytest.raises(StageError) as caught:
            write(tmp_path / "x.flac", noise, RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.code in (Code.DISK_FULL, Code.STORAGE)
    assert os.listdir(tmp_path) == []
    if Path("/dev/full").exists():
        with pytest.raises(StageError):
            SoundWriter("/dev/full/x.flac", RATE, 2)
