"""Law 1: parts of uneven length become one film with the exact number of frames, rate and length."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, StageError
from raydub.media.audio import decode_speech
from raydub.media.frames import open_frames
from raydub.media.info import Colour
from raydub.media.mux import _furthest, assemble, check_output
from raydub.media.probe import probe_video
from raydub.media.writer import PartWriter, count_frames, fine_time_base
from tests.examples import examples
from tests.media.films import film, number_of, picture, sound, tone

RATES = [Fraction(*r) for r in [(24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1), (50, 1), (60, 1)]]
COUNTS = [60, 17, 2, 41, 1]


def parts_at(folder: Path, rate: Fraction, counts: list[int], **options: object) -> list[str]:
    paths, done = [], 0
    for number, count in enumerate(counts):
        path = str(folder / f"part{number}.mp4")
        with PartWriter(path, (96, 64), rate, Colour(), **options) as writer:  # type: ignore[arg-type]
            for _ in range(count):
                writer.write(picture(done))
                done += 1
        paths.append(path)
    return paths


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v", "mkv"])
@pytest.mark.parametrize("rate", RATES, ids=str)
def test_film_is_frame_exact(tmp_path: Path, rate: Fraction, suffix: str) -> None:
    total = sum(COUNTS)
    parts = parts_at(tmp_path, rate, COUNTS)
    assert [count_frames(part) for part in parts] == COUNTS
    speech = sound(tmp_path / "speech.wav", tone(2.0), 22050)
    out = str(tmp_path / f"out.{suffix}")
    assemble(parts, COUNTS, rate, out, str(speech), {"comment": "synthetic speech"})
    check_output(out, total, rate)
    with av.open(out) as result:
        video, audio = result.streams.video[0], result.streams.audio[0]
        times = [frame.pts * frame.time_base for frame in result.decode(video)]
        tick = Fraction(1, 1000) if suffix == "mkv" else 0
        assert all(abs(time - k / rate) <= tick for k, time in enumerate(times))
        assert len(times) == total
        assert audio.codec_context.sample_rate == 44100
        tags = {key.lower(): value for key, value in result.metadata.items()}
        assert tags["comment"] == "synthetic speech"
        assert video.average_rate == rate
        if suffix != "mkv":
            assert video.duration * video.time_base == total / rate
            assert abs(audio.duration * audio.time_base - total / rate) <= Fraction(1, 44100)
    info = probe_video(out)
    assert (info.rate, info.n_frames, info.variable_rate) == (rate, total, False)
    with open_frames(info) as reader:
        assert [number_of(frame) for frame in reader.frames(0, total)] == list(range(total))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_damaged_parts_are_found(codec: str, tmp_path: Path) -> None:
    [path] = parts_at(tmp_path, Fraction(25), [24], codec=codec, preset="ultrafast")
    assert count_frames(path) == 24
    with av.open(path) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    whole = Path(path).read_bytes()
    start, size = places[12]
    for damaged in (
        whole[: len(whole) * 2 // 3],
        whole[:start] + bytes(size) + whole[start + size :],
        whole[:start] + b"\xff" * size + whole[start + size :],
    ):
        Path(path).write_bytes(damaged)
        try:
            assert count_frames(path) != 24
        except StageError as error:
            assert error.code == Code.VERIFY_FAILED


def test_the_other_codec_joins_too(tmp_path: Path) -> None:
    rate, counts = Fraction(30000, 1001), [9, 14]
    parts = parts_at(tmp_path, rate, counts, codec="libx265", preset="ultrafast", crf=20)
    joined = str(tmp_path / "joined.mp4")
    assemble(parts, counts, rate, joined, None, {})
    with av.open(parts[0]) as part, av.open(joined) as film:
        assert film.streams.video[0].codec_context.codec_tag == part.streams.video[0].codec_context.codec_tag
    info = probe_video(joined)
    assert (info.rate, info.n_frames) == (rate, 23)
    with open_frames(info) as reader:
        assert [number_of(frame) for frame in reader.frames(0, 23)] == list(range(23))


def test_long_speech_is_cut_and_short_speech_padded(tmp_path: Path) -> None:
    rate, counts = Fraction(25), [50]
    parts = parts_at(tmp_path, rate, counts)
    for seconds in (0.3, 9.0):
        speech = sound(tmp_path / "speech.wav", tone(seconds), 16000)
        assemble(parts, counts, rate, str(tmp_path / "out.mp4"), str(speech), {})
        check_output(str(tmp_path / "out.mp4"), 50, rate)
        heard = decode_speech(str(tmp_path / "out.mp4"))
        assert abs(len(heard) / 16000 - 2.0) < 0.001
        loud = abs(heard).reshape(-1)[: 16000 * 2]
        assert loud[int(16000 * 0.1) : int(16000 * 0.25)].max() > 0.4
        assert (loud[16000:30000].max() > 0.4) == (seconds > 2)


def test_colour_and_pixel_shape_are_tagged(tmp_path: Path) -> None:
    colour = Colour(matrix="bt601", full_range=True, primaries=6, transfer=6)
    path = str(tmp_path / "part.mp4")
    with PartWriter(path, (96, 64), Fraction(25), colour, Fraction(4, 3)) as writer:
        writer.write(picture(0))
    info = probe_video(path)
    assert info.colour == colour
    assert info.sample_aspect == Fraction(4, 3)


def test_wrong_counts_and_settings_are_refused(tmp_path: Path) -> None:
    rate = Fraction(25)
    parts = parts_at(tmp_path, rate, [5, 5])
    with pytest.raises(StageError) as caught:
        assemble(parts, [5, 6], rate, str(tmp_path / "joined.mp4"), None, {})
    assert caught.value.code == Code.STITCH_FAILED
    other = str(tmp_path / "other.mp4")
    with PartWriter(other, (64, 64), rate, Colour()) as writer:
        writer.write(picture(0, 64, 64))
    with pytest.raises(StageError, match="other settings"):
        assemble([parts[0], other], [5, 1], rate, str(tmp_path / "joined.mp4"), None, {})


def test_check_output_sees_what_is_wrong(tmp_path: Path) -> None:
    rate = Fraction(25)
    parts, joined = parts_at(tmp_path, rate, [30]), str(tmp_path / "joined.mp4")
    assemble(parts, [30], rate, joined, None, {})
    speech = sound(tmp_path / "speech.wav", tone(1.0))
    out = str(tmp_path / "out.mp4")
    assemble(parts, [30], rate, out, str(speech), {})
    check_output(out, 30, rate)
    with pytest.raises(StageError, match="30 frames, not 20"):
        check_output(out, 20, rate)
    with pytest.raises(StageError, match=r"sound that ends 400\.0 ms"):
        check_output(out, 20, rate)
    with pytest.raises(StageError, match="off its time"):
        check_output(out, 30, Fraction(24))
    with pytest.raises(StageError, match="has no video or no sound"):
        check_output(joined, 30, rate)


def test_unknown_codec_container_and_frame_size(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="unknown codec"):
        PartWriter(str(tmp_path / "a.mp4"), (96, 64), Fraction(25), Colour(), codec="h264_telepathy")
    with PartWriter(str(tmp_path / "b.mp4"), (96, 64), Fraction(25), Colour()) as writer:
        writer.write(picture(0))
        with pytest.raises(StageError, match="has size"):
            writer.write(picture(1, 64, 64))
    source = film(tmp_path / "c.mp4", range(3))
    speech = sound(tmp_path / "s.wav", tone(1.0))
    with pytest.raises(StageError) as caught:
        assemble([str(source)], [3], Fraction(25), str(tmp_path / "out.exe"), str(speech), {})
    assert caught.value.code == Code.OUTPUT_FORMAT


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_fine_time_base_holds_every_frame(rate: Fraction) -> None:
    base = fine_time_base(rate)
    assert (1 / (rate * base)).denominator == 1
    assert base <= Fraction(1, 10_000)


@settings(max_examples=examples(60), deadline=None)
@given(
    times=st.lists(st.integers(0, 10**13), max_size=20),
    base=st.fractions(min_value=Fraction(1, 10**9), max_value=1, max_denominator=10**9).filter(bool),
    rate=st.fractions(min_value=1, max_value=240, max_denominator=1001),
)
def test_the_worst_frame_is_found_exactly(times: list[int], base: Fraction, rate: Fraction) -> None:
    off = [abs(time * base - Fraction(number) / rate) for number, time in enumerate(sorted(times))]
    assert _furthest(times, base, rate) == max(off, default=0)
