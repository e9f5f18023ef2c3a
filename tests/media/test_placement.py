"""Sound and picture begin together and end together, on the sample, in every container and for every reader.

Measured by cross-correlation with noise, as PyAV decodes the film and as an ffmpeg program does (tests/ffmpeg.py).
"""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, fftconvolve, sosfilt

from raydub.arrays import F32
from raydub.errors import Code, InputError, StageError
from raydub.media.encoder import AAC_BLOCK, Fit, fit, sound_form
from raydub.media.flac import SoundWriter
from raydub.media.mux import assemble, check_output, sound_off
from raydub.media.sound import resample
from raydub.media.sound_file import FORMS, convert_sound
from tests.examples import examples
from tests.ffmpeg import ffmpeg_program
from tests.media.test_output import parts_at

CASES = [
    ("mp4", Fraction(24), 61, 48000, 2),
    ("mp4", Fraction(30000, 1001), 50, 8000, 1),
    ("mp4", Fraction(24000, 1001), 24, 22050, 2),
    ("mp4", Fraction(120), 60, 44100, 1),
    ("mp4", Fraction(240), 1, 48000, 1),
    ("mp4", Fraction(240), 3, 44100, 2),
    ("mov", Fraction(25), 25, 16000, 1),
    ("mov", Fraction(120000, 1001), 61, 44100, 2),
    ("mov", Fraction(240), 120, 32000, 1),
    ("m4v", Fraction(60), 1, 11025, 1),
    ("mkv", Fraction(24), 61, 48000, 2),
    ("mkv", Fraction(60000, 1001), 37, 44100, 1),
    ("mkv", Fraction(100), 50, 16000, 2),
    ("mkv", Fraction(120), 60, 44100, 1),
    ("mkv", Fraction(240), 1, 8000, 1),
]


def noise(seconds: float, rate: int, channels: int) -> F32:
    """(n, channels) float32 below 3 kHz, so that no encoder leaves any of it out; the same on all channels."""
    raw = np.random.default_rng(7).standard_normal(round(seconds * rate)) * 0.1
    shaped = sosfilt(butter(4, min(3000, 0.4 * rate), fs=rate, output="sos"), raw).astype(np.float32)
    return np.repeat(shaped[:, None], channels, axis=1)


def stored(path: Path, samples: F32, rate: int) -> str:
    with SoundWriter(str(path), rate, samples.shape[1]) as writer:
        writer.write(samples)
        writer.publish(durable=False)
    return str(path)


def lag(wanted: F32, heard: F32) -> int:
    """By how many samples `heard` is late."""
    size = min(len(wanted), len(heard))
    return int(np.argmax(fftconvolve(heard[:size], wanted[:size][::-1]))) - (size - 1)


def by_pyav(path: str) -> tuple[Fraction, F32]:
    """Time of the first sample, and the left channel."""
    with av.open(path) as container:
        frames = list(container.decode(audio=0))
    first = frames[0]
    assert first.pts is not None
    assert first.time_base is not None
    return first.pts * first.time_base, np.concatenate([frame.to_ndarray()[0] for frame in frames])


def by_program(path: str, rate: int) -> F32:
    """The left channel from time 0 of the film's clock on."""
    place = "aresample=async=1:min_hard_comp=0.0001:first_pts=0"
    command = [ffmpeg_program(), "-v", "error", "-copyts", "-i", path, "-vn", "-af", place]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(rate), "-"]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)


def frame_times(path: str) -> list[Fraction]:
    """Times of the pictures, as the program reads them."""
    command = [ffmpeg_program(), "-v", "error", "-copyts", "-i", path, "-an", "-c", "copy", "-f", "framecrc", "-"]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    base = Fraction(next(line for line in lines if line.startswith("#tb 0")).split(":")[1].strip())
    return sorted(int(line.split(",")[2]) * base for line in lines if not line.startswith("#"))


@pytest.mark.parametrize(("suffix", "rate", "count", "hertz", "channels"), CASES)
def test_sound_stands_on_the_sample(
    tmp_path: Path, suffix: str, rate: Fraction, count: int, hertz: int, channels: int
) -> None:
    parts = parts_at(tmp_path, rate, [count])
    samples = noise(float(count / rate) + 0.5, hertz, channels)
    speech = stored(tmp_path / "speech.flac", samples, hertz)
    film = str(tmp_path / f"film.{suffix}")
    assemble(parts, [count], rate, film, speech, {})
    check_output(film, count, rate)

    form = sound_form("aac", hertz, channels)
    wanted = resample(samples[:, 0].copy(), hertz, form.rate)[: round(count / rate * form.rate)]
    tick = Fraction(1, 1000) if suffix == "mkv" else Fraction(0)
    assert all(abs(time - k / rate) <= tick for k, time in enumerate(frame_times(film)))
    first, heard = by_pyav(film)
    assert first == 0
    assert lag(wanted, heard) == 0
    plan = fit(len(wanted), suffix != "mkv")
    # An edit list that ends within a block is obeyed by most readers, not by this one.
    assert len(heard) == len(wanted) + (plan.excess if suffix != "mkv" else 0)
    seen = by_program(film, form.rate)
    # Matroska's clock has milliseconds, and older readers count the encoder's delay in it.
    late = round(form.rate / 1000) if suffix == "mkv" else 0
    assert abs(lag(wanted, seen)) <= late
    assert len(wanted) - late <= len(seen) <= len(wanted) + max(late, plan.excess if suffix != "mkv" else 0)


rates = st.one_of(
    st.sampled_from([Fraction(*r) for r in [(24000, 1001), (24, 1), (25, 1), (30000, 1001), (60, 1), (120, 1)]]),
    st.fractions(min_value=Fraction(24000, 1001), max_value=240, max_denominator=1001),
)


@settings(max_examples=examples(200), deadline=None)
@given(rate=rates, count=st.integers(1, 2000), hertz=st.sampled_from([8000, 11025, 16000, 44100, 48000]))
def test_every_length_at_every_rate_passes_its_own_check(rate: Fraction, count: int, hertz: int) -> None:
    form = sound_form("aac", hertz, 1)
    samples = round(count / rate * form.rate)
    off = abs(Fraction(samples, form.rate) - count / rate)
    assert off <= sound_off(rate)
    assert off + Fraction(1, 1000) <= sound_off(rate), "Matroska's clock"
    for edit_list in (True, False):
        plan = fit(samples, edit_list)
        assert (plan.lead + plan.samples + plan.excess) % AAC_BLOCK == 0
        assert 0 <= plan.lead < AAC_BLOCK
        assert 0 <= plan.excess < AAC_BLOCK
        assert plan.lead < samples, "else libav's reader plays nothing"
        if edit_list:
            assert plan.excess == 0 or samples <= AAC_BLOCK // 2
        else:
            assert plan.lead == 0


def test_where_the_silence_goes() -> None:
    assert fit(2048, True) == fit(2048, False) == Fit(2048, 0, 0)
    assert fit(1000, True) == Fit(1000, 24, 0)
    assert fit(1000, False) == Fit(1000, 0, 24)
    assert fit(100, True) == Fit(100, 99, 825)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(60), Fraction(100), Fraction(120), Fraction(240)])
def test_many_lengths_are_written_and_pass(tmp_path: Path, rate: Fraction, suffix: str) -> None:
    speech = stored(tmp_path / "speech.flac", noise(1.0, 44100, 1), 44100)
    film = str(tmp_path / f"film.{suffix}")
    for count in (1, 2, 3, 5, 7, 11, 13, 29, 48):
        parts = parts_at(tmp_path, rate, [count])
        assemble(parts, [count], rate, film, speech, {})
        check_output(film, count, rate)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    rate, counts = Fraction(25), [20, 17]
    parts = parts_at(tmp_path, rate, counts)
    speech = stored(tmp_path / "speech.flac", noise(2.0, 48000, 2), 48000)
    films = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for film in films:
        assemble(parts, counts, rate, str(film), speech, {"comment": "x", "synthetic": "true"})
    assert films[0].read_bytes() == films[1].read_bytes()


def test_the_index_comes_first(tmp_path: Path) -> None:
    """So that a film plays while it is fetched."""
    parts = parts_at(tmp_path, Fraction(25), [20])
    speech = stored(tmp_path / "speech.flac", noise(2.0, 48000, 2), 48000)
    for suffix in ("mp4", "mov"):
        assemble(parts, [20], Fraction(25), str(tmp_path / f"a.{suffix}"), speech, {})
        data = (tmp_path / f"a.{suffix}").read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")


def test_sound_and_picture_lie_side_by_side(tmp_path: Path) -> None:
    """No player has to seek: neither runs ahead of the other by more than a second."""
    parts = parts_at(tmp_path, Fraction(25), [100, 100])
    speech = stored(tmp_path / "speech.flac", noise(8.0, 48000, 1), 48000)
    for suffix in ("mp4", "mkv"):
        assemble(parts, [100, 100], Fraction(25), str(tmp_path / f"a.{suffix}"), speech, {})
        latest = {"video": 0.0, "audio": 0.0}
        with av.open(str(tmp_path / f"a.{suffix}")) as container:
            for packet in sorted((p for p in container.demux() if p.size), key=lambda packet: packet.pos or 0):
                latest[packet.stream.type] = float((packet.dts or 0) * packet.time_base)
                assert abs(latest["video"] - latest["audio"]) < 1


@pytest.mark.parametrize("suffix", sorted(FORMS))
def test_sound_files_hold_the_sound_on_the_sample(tmp_path: Path, suffix: str) -> None:
    samples = noise(1.5, 48000, 1)
    source = stored(tmp_path / "source.flac", samples, 48000)
    outs = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for out in outs:
        convert_sound(source, str(out), Fraction(3, 2))
    assert outs[0].read_bytes() == outs[1].read_bytes()
    command = [ffmpeg_program(), "-v", "error", "-i", str(outs[0]), "-f", "f32le", "-ac", "1", "-"]
    heard = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)
    assert lag(samples[:, 0], heard) == 0
    assert len(heard) == len(samples)
    assert np.sqrt(np.mean((heard - samples[:, 0]) ** 2)) < 0.1 * np.sqrt(np.mean(samples**2))


def test_speech_is_heard_as_the_lips_heard_it(tmp_path: Path) -> None:
    """Time stamps with a hole: media.audio lets the samples follow each other, and so does the film."""
    path = tmp_path / "hole.mkv"
    samples = noise(1.0, 48000, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        for piece, at in ((samples[:24000], 0), (samples[24000:], 72000)):
            packed = (np.ascontiguousarray(piece).reshape(1, -1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assemble(parts_at(tmp_path, Fraction(25), [50]), [50], Fraction(25), str(tmp_path / "a.mp4"), str(path), {})
    _, heard = by_pyav(str(tmp_path / "a.mp4"))
    assert lag(samples[:, 0], heard[:48000]) == 0
    assert np.abs(heard[50000:]).max() < 0.01


def test_what_cannot_be_written_has_its_code(tmp_path: Path) -> None:
    parts = parts_at(tmp_path, Fraction(25), [5])
    silent = parts[0]
    speech = stored(tmp_path / "speech.flac", noise(0.3, 48000, 1), 48000)
    with pytest.raises(InputError) as no_sound:
        assemble(parts, [5], Fraction(25), str(tmp_path / "a.mp4"), silent, {})
    assert no_sound.value.code == Code.SPEECH_NO_STREAM
    with pytest.raises(StageError) as no_folder:
        assemble(parts, [5], Fraction(25), str(tmp_path / "none" / "a.mp4"), speech, {})
    assert no_folder.value.code == Code.STORAGE
    Path(parts[0]).write_bytes(Path(parts[0]).read_bytes()[:500])
    with pytest.raises(StageError) as damaged:
        assemble(parts, [5], Fraction(25), str(tmp_path / "a.mp4"), speech, {})
    assert damaged.value.code == Code.STITCH_FAILED


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_full_disk_is_told(tmp_path: Path, suffix: str) -> None:
    counts = [60]
    parts = parts_at(tmp_path, Fraction(25), counts, crf=5)
    speech = stored(tmp_path / "speech.flac", noise(3.0, 48000, 2), 48000)
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(StageError) as full:
            assemble(parts, counts, Fraction(25), str(small / f"a.{suffix}"), speech, {})
        assert full.value.code == Code.DISK_FULL
        with pytest.raises(StageError) as also:
            convert_sound(speech, str(small / "a.wav"), Fraction(3))
        assert also.value.code == Code.DISK_FULL
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
