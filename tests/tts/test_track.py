"""From scripts to tracks with a real engine: what is heard when, for how long, under what; and what is made anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from raydub.identity import identify
from raydub.manifests.job import Job
from raydub.manifests.speech import SpeechTracks
from raydub.store import Store
from raydub.tts.engines.host import HostedEngine
from raydub.tts.mix.level import LEVEL_DB, levelled, trimmed
from raydub.tts.scripts.read import script_length
from raydub.tts.timing.stretch import stretch
from raydub.tts.track import SpeechMaker
from raydub.tts.types import Voice
from tests.examples import slow
from tests.kept import blobs_below, record_of
from tests.stages.fakes import write_video
from tests.tts.measuring import F32, babble, by_ffmpeg, read, tone, write
from tests.tts.track_support import (
    Cue,
    files_in,
    job_of,
    lag,
    report_of,
    sound_of,
    sounding_video,
    write_json,
    write_srt,
)

pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")

CUES: list[Cue] = [(0.3, 1.2, "Hola amigo."), (1.25, 2.2, "Buenos días."), (2.3, 3.0, "Adiós.")]
FIFTY = {Fraction(24000, 1001): 100100, Fraction(25): 96000, Fraction(30000, 1001): 80080, Fraction(60): 40000}


@pytest.fixture(scope="module")
def maker() -> Iterator[SpeechMaker]:
    made = SpeechMaker("monday")
    yield made
    made.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[HostedEngine]:
    with HostedEngine("espeak") as engine:
        yield engine


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """3 s without sound."""
    return write_video(tmp_path_factory.mktemp("clip") / "v.mp4", 75)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """3 s with 44.1 kHz stereo, another noise on each side."""
    sides = np.stack([babble(3.0, 44100, 1), babble(3.0, 44100, 2)], 1)
    return sounding_video(tmp_path_factory.mktemp("noisy") / "v.mov", 75, sides, 44100)


def make(maker: SpeechMaker, folder: Path, video: str, **said: object) -> SpeechTracks:
    """Tracks in `folder`/work of a Spanish script, that of CUES unless another one is named."""
    if "script" not in said and "audio" not in said:
        said["script"] = write_srt(folder / "s.srt", CUES)
    if "script" in said:
        said = {"language": "es", **said}
    return maker.make(job_of(folder, video, **said), str(folder / "work"))


def again(engine: HostedEngine, row: dict[str, object], rate: int) -> F32:
    """What is to be heard of a row of the report, spoken by the engine once more."""
    made = engine.synthesise(str(row["text"]), Voice("es", ("es",)), "es", float(str(row["speed"])))
    start, stop = trimmed(made.samples, made.rate)
    count = round((stop - start) * rate / made.rate)
    # Another resampler than ours: none of it may come late.
    at = np.arange(count) * made.rate / rate
    said = np.interp(at, np.arange(stop - start), made.samples[start:stop]).astype(np.float32)
    where = row["samples"]
    assert isinstance(where, dict)
    said = levelled(said, rate)
    return said if len(said) == where["length"] else stretch(said, rate, where["length"])


def check_places(tracks: SpeechTracks, engine: HostedEngine, cues: list[Cue], channels: int = 1) -> None:
    """Every cue's speech begins within 1 ms of its time, in the mix and in the track of the lips."""
    rows = report_of(tracks)["segments"]
    heard = read(Path(tracks.voices[0].path), tracks.rate, 1)[:, 0]
    assert len(heard) == tracks.samples
    for track in (sound_of(tracks, channels).mean(axis=1), heard):
        for (start, _, text), row in zip(cues, rows, strict=True):
            assert row["text"] == text
            late = lag(track, again(engine, row, tracks.rate), round(start * tracks.rate), tracks.rate // 50)
            assert abs(late) <= tracks.rate / 1000, (row["number"], late)


@pytest.mark.parametrize("rate", FIFTY, ids=str)
def test_cues_are_heard_at_their_times_for_as_long_as_the_video(
    maker: SpeechMaker, engine: HostedEngine, tmp_path: Path, rate: Fraction
) -> None:
    """50 frames at the usual rates; the second cue has to hurry, and its end is cut by the video's at the high ones."""
    cues = [(0.1, 0.45, "Hola amigo."), (0.5, 0.8, "Adiós.")]
    tracks = make(
        maker, tmp_path, write_video(tmp_path / "v.mp4", 50, rate), script=write_srt(tmp_path / "t.srt", cues)
    )
    assert (tracks.rate, tracks.samples, tracks.timed, tracks.segments) == (48000, FIFTY[rate], True, 2)
    assert tracks.duration <= Fraction(50) / rate
    check_places(tracks, engine, cues)
    rows = report_of(tracks)["segments"]
    assert rows[0]["actions"] != ["fits"]
    assert all(row["end"] <= tracks.samples / tracks.rate for row in rows)


def test_what_the_tracks_say(maker: SpeechMaker, engine: HostedEngine, tmp_path: Path, clip: str) -> None:
    tracks = make(maker, tmp_path, clip)
    check_places(tracks, engine, CUES)
    assert (tracks.segments, tracks.spoken, tracks.run, tracks.warnings) == (3, 3, "monday", ())
    assert tracks.sound_identity == identify(tracks.sound).sha256
    (voice,) = tracks.voices
    assert (voice.speaker, voice.face, voice.spans, voice.level) == ("", "", None, LEVEL_DB)
    assert voice.identity == identify(voice.path).sha256
    silent = read(Path(voice.path), 48000, 1)[: round(0.29 * 48000), 0]
    assert not silent.any(), "nothing is heard before the first cue"
    loudness, peak = by_ffmpeg(Path(tracks.sound))
    assert loudness == pytest.approx(-16, abs=0.3)
    assert peak <= -1.5
    assert SpeechTracks.model_validate_json(tracks.model_dump_json()) == tracks


def test_the_report(maker: SpeechMaker, tmp_path: Path, noisy: str) -> None:
    tracks = make(maker, tmp_path, noisy, bed="duck", loudness=-20, overflow="shift")
    report = report_of(tracks)
    assert {name: report[name] for name in ("version", "engine", "overflow", "rate", "channels", "seconds")} == {
        "version": 1, "engine": "espeak", "overflow": "shift", "rate": 44100, "channels": 2, "seconds": 3.0,
    }  # fmt: skip
    assert report["script"] == str(tmp_path / "s.srt")
    assert report["bed"] == {"path": noisy, "mode": "duck"}
    assert report["mix"]["integrated_lufs"] == pytest.approx(-20, abs=0.11)
    assert report["mix"]["true_peak_dbtp"] <= -1.9
    assert report["voices"] == {"": tracks.voices[0].path}
    assert len(report["bed_curve"]) == report["curve_rate"] * 3
    for row, (start, end, text) in zip(report["segments"], CUES, strict=True):
        assert (row["cue_start"], row["cue_end"], row["text"]) == (start, end, text)
        assert (row["voice"], row["language"], row["face"], row["spoken_now"]) == ("es", "es", "", True)
        assert row["start"] >= start
        assert row["samples"]["start"] == pytest.approx(row["start"] * 44100, abs=3)
        middle = round((row["start"] + row["end"]) / 2 * report["curve_rate"])
        assert report["bed_curve"][middle] == -15
    assert [row["number"] for row in report["segments"]] == [1, 2, 3]
    assert report["bed_curve"][2] == 0


@pytest.mark.parametrize(
    ("length", "timed", "samples"),
    [
        ("auto", True, 144000),
        ("video", True, 144000),
        ("audio", True, None),
        ("shortest", True, None),
        ("auto", False, None),
        ("audio", False, None),
        ("video", False, 144000),
        ("shortest", False, None),
    ],
)
def test_length(maker: SpeechMaker, tmp_path: Path, clip: str, length: str, timed: bool, samples: int | None) -> None:
    """None: as long as it is spoken, which is shorter than the video."""
    script = tmp_path / "s.txt"
    script.write_text("Hola, amigo mío. Buenos días a todos.")
    said = write_srt(tmp_path / "s.srt", CUES[:2]) if timed else str(script)
    tracks = make(maker, tmp_path, clip, script=said, length=length)
    assert tracks.timed == timed
    rows = report_of(tracks)["segments"]
    last = max(row["samples"]["start"] + row["samples"]["length"] for row in rows)
    assert tracks.samples == (samples if samples is not None else last)
    assert len(sound_of(tracks)) == tracks.samples
    if not timed:
        assert rows[0]["start"] == 0
        assert [row["cue_start"] for row in rows] == [None, None]
        assert rows[1]["start"] == pytest.approx(rows[0]["end"] + 0.25, abs=1e-3)


def test_speech_longer_than_the_video_goes_on_where_it_may(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    cues = [(2.0, 3.2, "Esto dura más que el vídeo."), (5.0, 6.0, "Mucho más.")]
    script = write_srt(tmp_path / "late.srt", cues)
    tracks = make(maker, tmp_path, clip, script=script, length="audio")
    assert tracks.samples == pytest.approx(5.0 * 48000 + 0.6 * 48000, abs=0.3 * 48000)
    rows = report_of(tracks)["segments"]
    assert [row["start"] for row in rows] == [2.0, 5.0]


def test_a_picture_lasts_as_long_as_it_is_spoken_to(maker: SpeechMaker, engine: HostedEngine, tmp_path: Path) -> None:
    picture = str(tmp_path / "face.png")
    cv2.imwrite(picture, np.full((64, 96, 3), 90, np.uint8))
    tracks = make(maker, tmp_path, picture, bed="duck")
    rows = report_of(tracks)["segments"]
    assert tracks.samples == rows[-1]["samples"]["start"] + rows[-1]["samples"]["length"]
    assert [word[:6] for word in tracks.warnings] == ["W_BED:"]
    check_places(tracks, engine, CUES)


def test_a_film_without_sound_is_told_and_has_no_bed(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    tracks = make(maker, tmp_path, clip, bed="mix")
    (warning,) = tracks.warnings
    assert warning == "W_BED: the video has no sound, so bed=mix has no effect"
    assert report_of(tracks)["bed"] is None
    assert not sound_of(tracks)[:10_000].any()


@pytest.mark.parametrize(
    ("rate", "channels", "made"), [(44100, 2, (44100, 2)), (48000, 1, (48000, 1)), (24000, 3, (48000, 2))]
)
def test_rate_and_channels_are_the_original_s(
    maker: SpeechMaker, engine: HostedEngine, tmp_path: Path, rate: int, channels: int, made: tuple[int, int]
) -> None:
    sides = [tone(3.0, rate, 300 + 200 * n, 0.05) for n in range(channels)]
    video = sounding_video(tmp_path / "v.mov", 75, np.stack(sides, 1), rate)
    tracks = make(maker, tmp_path, video, bed="mix")
    assert (tracks.rate, report_of(tracks)["channels"]) == made
    assert tracks.samples == 3 * made[0]
    check_places(tracks, engine, CUES, made[1])
    if channels == 2:
        sound = sound_of(tracks, 2)[: made[0] // 4]
        left, right = (np.abs(np.fft.rfft(sound[:, side])) for side in (0, 1))
        assert left.argmax() != right.argmax(), "each side keeps its own"


def level(sound: F32, rate: int, start: float, stop: float) -> float:
    part = sound[round(start * rate) : round(stop * rate)].astype(np.float64)
    return float(10 * np.log10(np.mean(part**2) + 1e-20))


def test_a_bed_ducks_under_speech_and_comes_back(maker: SpeechMaker, tmp_path: Path) -> None:
    """A steady tone, to be told from speech by its frequency."""
    rate = 48000
    video = sounding_video(tmp_path / "v.mov", 100, tone(4.0, rate, 9000, 0.05), rate)
    cues = [(1.0, 2.6, "Hola, esto es una prueba.")]
    found = {}
    for bed in ("duck", "mix"):
        tracks = make(maker, tmp_path, video, script=write_srt(tmp_path / "s.srt", cues), bed=bed)
        sound = sound_of(tracks)[:, 0]
        narrow = sound * np.exp(-2j * np.pi * 9000 * np.arange(len(sound)) / rate)
        width = rate // 50
        found[bed] = 20 * np.log10(np.abs(np.convolve(narrow, np.ones(width) / width, "same")) + 1e-9)
    end = report_of(tracks)["segments"][0]["end"]

    def bed_db(bed: str, start: float, stop: float) -> float:
        return float(np.median(found[bed][round(start * rate) : round(stop * rate)]))

    before, after = bed_db("duck", 0.2, 0.8), bed_db("duck", end + 0.5, end + 0.7)
    assert bed_db("duck", 1.1, end - 0.1) < before - 10
    assert after == pytest.approx(before, abs=0.5)
    assert bed_db("mix", 1.1, end - 0.1) == pytest.approx(bed_db("mix", 0.2, 0.8), abs=1.5)


def test_supplied_music_is_heard_in_the_original_s_place(maker: SpeechMaker, tmp_path: Path) -> None:
    rate = 48000
    video = sounding_video(tmp_path / "v.mov", 75, tone(3.0, rate, 5000, 0.1), rate)
    music = str(write(tmp_path / "m.flac", tone(3.0, rate, 7000, 0.1), rate))
    tracks = make(maker, tmp_path, video, bed="mix", bed_audio=music)
    quiet = sound_of(tracks)[: rate // 4, 0]
    spectrum = np.abs(np.fft.rfft(quiet * np.hanning(len(quiet))))
    hertz = np.fft.rfftfreq(len(quiet), 1 / rate)
    assert hertz[spectrum.argmax()] == pytest.approx(7000, abs=10)
    assert spectrum[np.abs(hertz - 5000) < 20].max() < spectrum.max() / 1000
    assert report_of(tracks)["bed"] == {"path": music, "mode": "mix"}
    assert tracks.voices[0].spans is None, "nobody's original voice is heard"


def heard_file(folder: Path, seconds: float = 1.6) -> str:
    """Two bursts of noise with 0.8 s between, at 22.05 kHz and a level of its own."""
    sound = np.zeros(round(seconds * 22050), np.float32)
    for start in (0.2, 1.2):
        burst = babble(0.3, 22050, level=0.03)
        sound[round(start * 22050) :][: len(burst)] = burst
    return str(write(folder / "speech.flac", sound, 22050))


def test_a_sound_file_with_a_bed(maker: SpeechMaker, tmp_path: Path, noisy: str) -> None:
    audio = heard_file(tmp_path)
    tracks = make(maker, tmp_path, noisy, audio=audio, bed="duck")
    assert (tracks.rate, tracks.samples, tracks.segments, tracks.spoken) == (44100, 70560, 0, 0)
    assert (tracks.report, tracks.timed) == (None, False)
    (voice,) = tracks.voices
    assert (voice.path, voice.level) == (audio, None), "the lips read the file itself"
    assert voice.spans is not None
    assert len(voice.spans) == 2
    for (start, stop), (begin, end) in zip(voice.spans, ((0.2, 0.5), (1.2, 1.5)), strict=True):
        assert begin - 0.3 <= start / 44100 <= begin + 0.02
        assert end - 0.02 <= stop / 44100 <= end + 0.3
    assert by_ffmpeg(Path(tracks.sound))[0] == pytest.approx(-16, abs=0.3)
    assert len([path for path in blobs_below(tmp_path / "work", "speech") if path.suffix == ".flac"]) == 2


@pytest.mark.parametrize(("length", "samples"), [("audio", 70560), ("video", 132300), ("shortest", 70560)])
def test_a_sound_file_with_a_loudness_only(
    maker: SpeechMaker, tmp_path: Path, noisy: str, length: str, samples: int
) -> None:
    tracks = make(maker, tmp_path, noisy, audio=heard_file(tmp_path), loudness=-23, length=length)
    assert tracks.samples == samples
    assert tracks.voices[0].spans is None, "the original is not heard"
    assert by_ffmpeg(Path(tracks.sound))[0] == pytest.approx(-23, abs=0.3)
    quiet = sound_of(tracks, 2)[round(0.6 * 44100) : round(1.1 * 44100)]
    assert np.abs(quiet).max() < 1e-3


def test_the_second_time_nothing_is_done(tmp_path: Path, noisy: str) -> None:
    for run, spoken in (("monday", 3), ("monday", 3), ("tuesday", 0)):
        maker = SpeechMaker(run)
        folders = [tmp_path / "work" / "refs" / name for name in ("speech", "utterances")]
        before = list(map(files_in, folders))
        tracks = make(maker, tmp_path, noisy, bed="duck")
        maker.close()
        assert tracks.spoken == spoken, "of this run, by whichever worker"
        assert before in ([{}, {}], list(map(files_in, folders)))


def test_one_changed_cue_is_spoken_and_the_others_sound_the_same(
    maker: SpeechMaker, tmp_path: Path, noisy: str
) -> None:
    """To the bit in the track that the lips read: chunks that the change does not touch are used again for that."""
    first = make(maker, tmp_path, noisy, bed="duck")
    changed = [CUES[0], (1.25, 2.2, "Buenas noches, mi general."), CUES[2]]
    tuesday = SpeechMaker("tuesday")
    second = make(tuesday, tmp_path, noisy, bed="duck", script=write_srt(tmp_path / "s2.srt", changed))
    tuesday.close()
    assert second.spoken == 1
    assert [row["spoken_now"] for row in report_of(second)["segments"]] == [False, True, False]
    assert second.sound_identity != first.sound_identity
    one, two = (read(Path(tracks.voices[0].path), 44100, 1)[:, 0] for tracks in (first, second))
    # A cue begins 0.06 s after whatever borrowed from the gap before it.
    start, stop = round(1.25 * 44100), round((2.3 - 0.06) * 44100)
    assert np.array_equal(one[:start], two[:start])
    assert np.array_equal(one[stop:], two[stop:])
    assert not np.array_equal(one[start:stop], two[start:stop])
    assert one[stop:].any()


@pytest.mark.parametrize(
    ("said", "spoken"),
    [
        ({"voice": "es-419"}, 3),
        slow({"language": "es-mx"}, 3),
        ({"overflow": "trim"}, 0),
        slow({"loudness": -20}, 0),
        slow({"length": "audio"}, 0),
        ({"bed": "duck"}, 0),
        ({"crf": 30}, None),
        slow({"masking": "always"}, None),
    ],
)
def test_what_makes_new_tracks_and_what_is_spoken_for_it(
    tmp_path: Path, noisy: str, said: dict[str, object], spoken: int | None
) -> None:
    """None: the same tracks."""
    monday, tuesday = SpeechMaker("monday"), SpeechMaker("tuesday")
    first = make(monday, tmp_path, noisy)
    second = make(tuesday, tmp_path, noisy, **said)
    monday.close()
    tuesday.close()
    made = [name for name in Store(tmp_path / "work").names("speech") if name.endswith("/tracks")]
    assert len(made) == (1 if spoken is None else 2)
    assert second.sound == first.sound or spoken is not None
    assert second.spoken == (spoken or 0)


def test_another_bed_of_the_same_name_is_another_bed(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    sounds = []
    for hertz in (500, 700):
        music = str(write(tmp_path / "m.flac", tone(3.0, 48000, hertz, 0.1), 48000))
        sounds.append(make(maker, tmp_path, clip, bed="mix", bed_audio=music).sound_identity)
    assert sounds[0] != sounds[1]


def record_of_tracks(work: Path) -> Path:
    [name] = [name for name in Store(work).names("speech") if name.endswith("/tracks")]
    return record_of(work, name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda tracks, work: Path(tracks.sound).unlink(),
        slow(lambda tracks, work: Path(tracks.voices[0].path).unlink()),
        slow(lambda tracks, work: Path(tracks.report).write_bytes(b"{}")),
        lambda tracks, work: Path(tracks.voices[0].path).write_bytes(b"fLaC"),
        slow(lambda tracks, work: record_of_tracks(work).write_bytes(b'{"voices": [')),
        slow(lambda tracks, work: record_of_tracks(work).write_bytes(b"{}")),
        lambda tracks, work: record_of_tracks(work).unlink(),
        lambda tracks, work: shutil.rmtree(work / "refs" / "speech"),
    ],
    ids=["sound", "voice", "report", "voice-cut", "half", "empty", "no-tracks", "folder"],
)
def test_what_is_damaged_is_made_anew_of_what_was_spoken(tmp_path: Path, clip: str, damage: object) -> None:
    maker = SpeechMaker("monday")
    first = make(maker, tmp_path, clip)
    damage(first, tmp_path / "work")  # type: ignore[operator]
    later = SpeechMaker("tuesday")
    second = make(later, tmp_path, clip)
    maker.close()
    later.close()
    assert second.spoken == 0
    assert (second.sound, second.sound_identity) == (first.sound, first.sound_identity)
    assert identify(second.sound).sha256 == first.sound_identity
    assert identify(second.voices[0].path).sha256 == first.voices[0].identity


def test_a_damaged_utterance_is_spoken_anew(tmp_path: Path, clip: str) -> None:
    monday, tuesday = SpeechMaker("monday"), SpeechMaker("tuesday")
    first = make(monday, tmp_path, clip)
    files = blobs_below(tmp_path / "work", "utterances")
    files[0].write_bytes(files[0].read_bytes()[:-100])
    shutil.rmtree(tmp_path / "work" / "refs" / "speech")
    second = make(tuesday, tmp_path, clip)
    monday.close()
    tuesday.close()
    assert second.spoken == 1
    assert second.sound_identity == first.sound_identity


def test_what_was_rehearsed_counts_for_its_run(tmp_path: Path, clip: str) -> None:
    script = write_srt(tmp_path / "s.srt", CUES)
    job = job_of(tmp_path, clip, script=script, language="es", overflow="fail")
    assert script_length(job) == 3
    work = str(tmp_path / "work")
    for run in ("monday", "tuesday"):
        worker, colleague = SpeechMaker(run), SpeechMaker(run)
        worker.prefetch(job, work, 0, 2)
        colleague.prefetch(job, work, 2, 3)
        before = files_in(tmp_path / "work" / "refs" / "utterances")
        assert len(before) >= 3
        assert not (tmp_path / "work" / "refs" / "speech").exists() or run == "tuesday"
        other = job.model_copy(update={"options": job.options.model_copy(update={"overflow": "shift"})})
        tracks = worker.make(other, work)
        worker.close()
        colleague.close()
        assert tracks.spoken == (3 if run == "monday" else 0)
        assert before.items() <= files_in(tmp_path / "work" / "refs" / "utterances").items()


def test_rehearsing_is_no_place_for_an_overflow(tmp_path: Path, clip: str) -> None:
    cues = [(0.1, 0.2, "Esto no cabe de ninguna manera en su tiempo."), (0.25, 9.0, "Nada."), (10.0, 11.0, "Lejos.")]
    job = job_of(tmp_path, clip, script=write_srt(tmp_path / "s.srt", cues), language="es", overflow="fail")
    maker = SpeechMaker("monday")
    maker.prefetch(job, str(tmp_path / "work"), 0, 3)
    maker.prefetch(job_of(tmp_path, clip, audio="none.wav", bed="duck"), str(tmp_path / "work"), 0, 3)
    maker.close()
    assert len(blobs_below(tmp_path / "work", "utterances")) >= 3


# whose mouth, and where it may move


def dialogue(folder: Path) -> str:
    return write_json(
        folder / "d.json",
        [
            {"start": 0.2, "end": 1.2, "text": "Hola, Benito.", "speaker": "Ana"},
            {"start": 1.0, "end": 2.2, "text": "Buenos días.", "speaker": "BEN"},
            {"start": 2.4, "end": 2.9, "text": "Adiós.", "speaker": "ana", "language": "fr"},
        ],
    )


def seconds(tracks: SpeechTracks, number: int = 0) -> list[tuple[float, float]]:
    spans = tracks.voices[number].spans
    assert spans is not None
    return [(start / tracks.rate, stop / tracks.rate) for start, stop in spans]


def test_two_speakers_with_a_mouth_each(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    tracks = make(maker, tmp_path, clip, script=dialogue(tmp_path), speakers="ANA=left; ben=index:1")
    assert [(voice.speaker, voice.face, voice.level) for voice in tracks.voices] == [
        ("Ana, ana", "left", LEVEL_DB), ("BEN", "index:1", LEVEL_DB),
    ]  # fmt: skip
    rows = report_of(tracks)["segments"]
    assert [row["face"] for row in rows] == ["left", "index:1", "left"]
    assert [row["language"] for row in rows] == ["es", "es", "fr-fr"]
    assert seconds(tracks, 0) == [(0.2, 1.2), (2.4, max(2.9, rows[2]["end"]))]
    assert seconds(tracks, 1) == [(1.0, 2.2)]
    ana, ben = (read(Path(voice.path), 48000, 1)[:, 0] for voice in tracks.voices)
    assert not ana[round(1.3 * 48000) : round(2.3 * 48000)].any()
    assert not ben[: 48000 - 10].any()
    assert ben[48000:].any()
    assert set(report_of(tracks)["voices"]) == {"left", "index:1"}


def test_a_voice_that_is_only_heard(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    script = dialogue(tmp_path)
    tracks = make(maker, tmp_path, clip, script=script, speakers="Ben=left; *=none")
    assert [(voice.speaker, voice.face) for voice in tracks.voices] == [("BEN", "left")]
    assert set(report_of(tracks)["voices"]) == {"none", "left"}
    sound = sound_of(tracks)[:, 0]
    assert sound[round(0.3 * 48000) : round(0.9 * 48000)].any(), "Ana is heard"
    nobody = make(maker, tmp_path, clip, script=script, speakers="*=none")
    (voice,) = nobody.voices
    assert (voice.speaker, voice.face, voice.spans) == ("", "", ())
    assert nobody.spoken == tracks.spoken


def test_where_mouths_may_move(maker: SpeechMaker, tmp_path: Path, clip: str, noisy: str) -> None:
    script = dialogue(tmp_path)
    music = str(write(tmp_path / "m.flac", tone(3.0, 48000, 500, 0.1), 48000))
    assert make(maker, tmp_path, clip, script=script).voices[0].spans is None
    assert make(maker, tmp_path, noisy, script=script).voices[0].spans is None
    assert make(maker, tmp_path, noisy, script=script, bed="duck", bed_audio=music).voices[0].spans is None
    own = make(maker, tmp_path, noisy, script=script, bed="duck")
    assert seconds(own)[0] == pytest.approx((0.2, 2.2), abs=1e-4), "of overlapping cues one span is made"
    assert [start for start, _ in seconds(own)] == pytest.approx([0.2, 2.4], abs=1e-4)
    assert len(own.voices) == 1
    for said in ({}, {"bed": "mix"}, {"bed": "mix", "bed_audio": music}):
        tracks = make(maker, tmp_path, noisy, script=script, speakers="*=largest", **said)
        assert [(voice.face, voice.spans is None) for voice in tracks.voices] == [("largest", False)]


def test_voices_of_speakers_and_segments(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    script = write_json(
        tmp_path / "v.json",
        [
            {"start": 0.1, "end": 0.9, "text": "Hola.", "speaker": "Ana"},
            {"start": 1.0, "end": 1.9, "text": "Hello.", "speaker": "Ben"},
            {"start": 2.0, "end": 2.9, "text": "Salut.", "speaker": "Ana", "voice": "fr-fr"},
        ],
    )
    tracks = make(maker, tmp_path, clip, script=script, voice="ana=es-419; ben=en-gb", language=None)
    assert [(row["voice"], row["language"]) for row in report_of(tracks)["segments"]] == [
        ("es-419", "es-419"), ("en-gb", "en-gb"), ("fr-fr", "fr-fr"),
    ]  # fmt: skip


# warnings


def test_what_did_not_fit_is_told(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    cues = [
        (0.1, 0.5, "Esto no cabe."),
        (0.55, 1.6, "Bien."),
        (2.6, 2.9, "No cabe."),
    ]
    script = write_srt(tmp_path / "s.srt", cues)
    words = {"squeeze": "spoken faster than sounds natural", "shift": "heard later", "trim": "cut off"}
    for overflow, what in words.items():
        tracks = make(maker, tmp_path, clip, script=script, overflow=overflow)
        timing = [warning for warning in tracks.warnings if warning.startswith("W_TIMING: ")]
        assert any(what in warning and ("cue 1" in warning or "cue 2" in warning) for warning in timing), overflow
        assert tracks.samples == 144000
        heard = {row["number"]: row for row in report_of(tracks)["segments"]}
        assert all(row["end"] <= 3.0 for row in heard.values())
        assert (heard[2]["shifted"] > 0) == (overflow == "shift")
        assert (heard[1]["cut"] > 0) == (overflow == "trim")


def test_a_script_that_was_mended_is_told(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    script = write_srt(tmp_path / "s.srt", [*CUES, (2.9, 3.0, "<i></i>")])
    tracks = make(maker, tmp_path, clip, script=script)
    assert [warning for warning in tracks.warnings if warning.startswith("W_SCRIPT: ") and "4" in warning]
    assert tracks.segments == 3


def test_a_loudness_that_cannot_be_had_is_told(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    tracks = make(maker, tmp_path, clip, loudness=-5)
    (warning,) = tracks.warnings
    assert warning.startswith("W_LOUDNESS: ")
    assert "-5 LUFS" in warning
    assert by_ffmpeg(Path(tracks.sound))[1] <= -1.5
    short = make(maker, tmp_path, write_video(tmp_path / "short.mp4", 8), overflow="trim")
    assert any(warning.startswith("W_LOUDNESS: ") for warning in short.warnings)
    assert short.samples == 15360


def test_warnings_are_those_of_this_job(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    """Not those of a job that has the same sound."""
    plain = make(maker, tmp_path, clip)
    assert plain.warnings == ()
    bedded = make(maker, tmp_path, clip, bed="duck")
    assert [warning[:6] for warning in bedded.warnings] == ["W_BED:"]
    assert make(maker, tmp_path, clip).warnings == ()
    mended = make(maker, tmp_path, clip, script=write_srt(tmp_path / "m.srt", [*CUES, (2.9, 3.0, "<i></i>")]))
    assert [warning[:9] for warning in mended.warnings] == ["W_SCRIPT:"]


def test_a_sound_file_that_was_moved_is_read_where_it_is(maker: SpeechMaker, tmp_path: Path, noisy: str) -> None:
    """And not where another job had it, which may be another sound by now."""
    first = heard_file(tmp_path)
    moved = str(tmp_path / "moved.flac")
    shutil.copy(first, moved)
    assert make(maker, tmp_path, noisy, audio=first, loudness=-20).voices[0].path == first
    write(Path(first), tone(2.0, 22050), 22050)
    tracks = make(maker, tmp_path, noisy, audio=moved, loudness=-20)
    assert tracks.voices[0].path == moved
    assert tracks.voices[0].identity == identify(moved).sha256


def test_a_report_that_is_gone_is_made_anew(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    first = make(maker, tmp_path, clip)
    assert first.report is not None
    Path(first.report).unlink()
    second = make(maker, tmp_path, clip)
    assert second.report is not None
    assert json.loads(Path(second.report).read_text())["segments"]


def test_without_a_run_nothing_old_counts_as_spoken(tmp_path: Path, clip: str) -> None:
    for spoken in (3, 0):
        maker = SpeechMaker()
        assert make(maker, tmp_path, clip).spoken == spoken
        maker.close()


def test_a_job_without_a_script_cannot_be_spoken(maker: SpeechMaker, tmp_path: Path, clip: str) -> None:
    job = Job(id="a", video=clip, audio="a.wav", output=str(tmp_path / "o.mp4"))
    with pytest.raises(ValueError, match="without a script"):
        maker.speak(job, None, str(tmp_path))  # type: ignore[arg-type]
    assert script_length(job) == 0


def test_lips_close_where_the_voice_is_shut(maker: SpeechMaker, clip: str, tmp_path: Path) -> None:
    """Times of phonemes go the whole way: trimmed, spoken faster or squeezed, placed; [p] is silent in the track."""
    script = write_srt(tmp_path / "pp.srt", [(0.3, 1.9, "Papá, papá, papá."), (2.0, 2.55, "Mapa, papá, papá.")])
    made = make(maker, tmp_path, clip, script=script)
    (voice,) = made.voices
    assert voice.sounds is not None
    table = np.load(voice.sounds)
    rows = report_of(made)["segments"]
    assert {"faster", "squeezed"} & set(rows[1]["actions"])
    for row in rows:
        assert table[0, round(row["start"] * 80) + 1 : round(row["end"] * 80)].all()
    assert not table[:, : round(rows[0]["start"] * 80) - 1].any()
    sound = read(voice.path, made.rate, 1).reshape(-1)
    edges = np.flatnonzero(np.diff((table[1] >= 128).astype(np.int8), prepend=0, append=0)) / 80
    level = [
        float(np.abs(sound[round((a + b) / 2 * made.rate) :][: made.rate // 200]).max())
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]
    assert 11 <= len(level) <= 13
    assert np.mean(np.array(level) < 0.1 * np.abs(sound).max()) > 0.8
    # Found again, with its lips.
    assert make(maker, tmp_path, clip, script=script).voices == made.voices
    Path(voice.sounds).unlink()
    again = make(maker, tmp_path, clip, script=script).voices[0].sounds
    assert again == voice.sounds
    assert Path(again).is_file()
