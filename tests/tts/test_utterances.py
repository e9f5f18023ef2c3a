"""Every cue is spoken once: what is kept, what asks for it anew, and what a damaged file does."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, InputError, StageError
from raydub.store import Store
from raydub.tts.engines.utterances import Speaker, at_segment
from raydub.tts.mix.level import LEVEL_DB
from raydub.tts.types import Mark, Segment, Utterance, Voice
from tests.examples import examples
from tests.kept import blobs_below

ES, EN = Voice("es", ("es",)), Voice("en", ("en",))
HOLA, ADIOS = Segment(1, "hola"), Segment(2, "adiós, ¡amigo!")


class Counting:
    """An engine that never says the same twice, and notes what it was asked."""

    def __init__(self, name: str = "counting", release: str = "1") -> None:
        self.name, self.max_speed, self.release = name, 2.0, release
        self.asked: list[tuple[str, str, str, float]] = []
        self.error: Exception | None = None

    def voices(self) -> tuple[Voice, ...]:
        return (ES, EN)

    def named(self, name: str) -> Voice | None:
        return None

    def identity(self, voice: Voice) -> str:
        return f"{self.release} {voice.name}"

    def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
        if self.error is not None:
            raise self.error
        self.asked.append((text, voice.name, language, speed))
        rate, pad = 16000, np.zeros(1600, np.float32)
        count = round(rate * 0.05 * len(text) / speed)
        hum = 0.4 * np.sin(np.arange(count) * (0.1 + 0.001 * len(self.asked)))
        samples = np.concatenate([pad, hum.astype(np.float32), pad])
        return Utterance(samples, rate, (Mark("word", 0.1, text), Mark("phoneme", 0.15, "ə")))


def kept(folder: Path) -> list[Path]:
    return blobs_below(folder, "utterances")


def same(one: Utterance, two: Utterance) -> bool:
    return bool(np.array_equal(one.samples, two.samples)) and (one.rate, one.marks) == (two.rate, two.marks)


def test_said_once(tmp_path: Path) -> None:
    engine = Counting()
    first, other = (Speaker(engine, Store(tmp_path), 48000) for _ in range(2))
    made = first.utterance(HOLA, ES, "es", 1.0)
    assert first.spoken == {1}
    assert same(made, first.utterance(HOLA, ES, "es", 1.0))
    assert same(made, other.utterance(HOLA, ES, "es", 1.0)), "marks and the engine's own rate come back as well"
    assert other.spoken == set()
    assert len(engine.asked) == len(kept(tmp_path)) == 1


def test_say_gives_trimmed_speech_at_one_level_and_the_rate_of_the_mix(tmp_path: Path) -> None:
    speaker = Speaker(Counting(), Store(tmp_path), 44100)
    said = speaker.say(HOLA, ES, "es", 1.0)
    assert said.dtype == np.float32
    assert 0.2 <= len(said) / 44100 <= 0.2 + 0.010 + 0.030 + 2 * 0.010, "0.2 s of hum between 0.1 s of silence"
    loud = said[abs(said) > 0]
    assert 10 * np.log10(np.mean(loud[2000:-2000].astype(float) ** 2)) == pytest.approx(LEVEL_DB, abs=0.5)
    assert np.array_equal(said, speaker.say(HOLA, ES, "es", 1.0))
    other = Speaker(Counting(), Store(tmp_path), 24000).say(HOLA, ES, "es", 1.0)
    assert len(other) == pytest.approx(len(said) * 24000 / 44100, abs=1), "one utterance serves all rates"


@pytest.mark.parametrize(
    "change",
    ["text", "voice", "language", "speed", "engine", "release"],
)
def test_whatever_decides_the_sound_asks_anew(tmp_path: Path, change: str) -> None:
    Speaker(Counting(), Store(tmp_path), 48000).utterance(HOLA, ES, "es", 1.0)
    engine = Counting("other" if change == "engine" else "counting", "2" if change == "release" else "1")
    speaker = Speaker(engine, Store(tmp_path), 48000)
    segment = replace(HOLA, text="Hola") if change == "text" else HOLA
    voice = EN if change == "voice" else ES
    speaker.utterance(segment, voice, "es-mx" if change == "language" else "es", 1.1 if change == "speed" else 1.0)
    assert speaker.spoken == {1}
    assert len(engine.asked) == 1
    assert len(kept(tmp_path)) == 2


def test_what_does_not_decide_it_does_not(tmp_path: Path) -> None:
    engine = Counting()
    Speaker(engine, Store(tmp_path), 48000).utterance(HOLA, ES, "es", 1.0)
    speaker = Speaker(engine, Store(tmp_path), 8000, "another run")
    speaker.utterance(Segment(7, "hola", speaker="Ana"), ES, "es", 1.0)
    assert speaker.spoken == set()
    assert len(engine.asked) == 1


@pytest.mark.parametrize(
    ("speed", "asked"), [(1.0, 1.0), (1.0001, 1.01), (1.23, 1.23), (1.230000001, 1.23), (1.2301, 1.24), (1.999, 2.0)]
)
def test_speeds_are_asked_for_in_hundredths_never_slower(tmp_path: Path, speed: float, asked: float) -> None:
    engine = Counting()
    Speaker(engine, Store(tmp_path), 48000).utterance(HOLA, ES, "es", speed)
    assert engine.asked == [("hola", "es", "es", asked)]


def test_spoken_belongs_to_the_run_and_not_to_the_worker(tmp_path: Path) -> None:
    engine = Counting()
    Speaker(engine, Store(tmp_path), 48000, "monday").utterance(HOLA, ES, "es", 1.0)
    colleague = Speaker(engine, Store(tmp_path), 48000, "monday")
    colleague.utterance(HOLA, ES, "es", 1.0)
    colleague.utterance(ADIOS, ES, "es", 1.3)
    assert colleague.spoken == {1, 2}
    later = Speaker(engine, Store(tmp_path), 48000, "tuesday")
    later.utterance(HOLA, ES, "es", 1.0)
    later.utterance(ADIOS, ES, "es", 1.3)
    assert later.spoken == set()
    nobody = Speaker(engine, Store(tmp_path), 48000)
    nobody.utterance(HOLA, ES, "es", 1.0)
    assert nobody.spoken == set()
    assert len(engine.asked) == 2


def test_whoever_is_quicker_counts(tmp_path: Path) -> None:
    """Two workers say the same cue at the same time: both have the same samples afterwards."""
    gate = threading.Barrier(2, timeout=20)

    class Slow(Counting):
        def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
            gate.wait()
            made = super().synthesise(text, voice, language, speed)
            return replace(made, samples=made.samples * np.float32(np.random.default_rng().uniform(0.1, 1)))

    engine = Slow()
    found: list[Utterance] = []

    def work() -> None:
        found.append(Speaker(engine, Store(tmp_path), 48000).utterance(HOLA, ES, "es", 1.0))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 2
    assert len(kept(tmp_path)) == 1
    last = Speaker(Counting(), Store(tmp_path), 48000).utterance(HOLA, ES, "es", 1.0)
    assert any(same(last, one) for one in found)


def test_a_voice_that_changes_while_it_speaks_is_not_kept_under_its_former_name(tmp_path: Path) -> None:
    class Replaced(Counting):
        def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
            self.release = "2"
            return super().synthesise(text, voice, language, speed)

    with pytest.raises(InputError) as caught:
        Speaker(Replaced(), Store(tmp_path), 48000).utterance(HOLA, ES, "es", 1.0)
    assert (caught.value.code, caught.value.retryable) == (Code.INPUT_CHANGED, True)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("error", [StageError(Code.TTS_FAILED, "crashed"), InputError(Code.VOICE_UNKNOWN, "who?")])
def test_an_engine_s_errors_name_the_cue(tmp_path: Path, error: StageError) -> None:
    engine = Counting()
    engine.error = error
    long = Segment(12, "palabra " * 30)
    with pytest.raises(type(error)) as caught:
        Speaker(engine, Store(tmp_path), 48000).utterance(long, ES, "es", 1.0)
    assert caught.value.code == error.code
    assert caught.value.message.startswith("cue 12 ('palabra palabra")
    assert len(caught.value.message) < 100
    assert caught.value.field == "script"
    assert kept(tmp_path) == [], "what failed is not kept"


def test_a_field_that_is_known_stays() -> None:
    error = at_segment(InputError(Code.VOICE_UNKNOWN, "no voice", field="voice"), HOLA)
    assert (error.field, error.message) == ("voice", "cue 1 ('hola'): no voice")


@pytest.mark.parametrize(
    "samples",
    [np.zeros(100, np.float64), np.zeros((2, 100), np.float32), np.zeros(0, np.float32), np.zeros(100, np.int16)],
)
def test_an_engine_that_was_not_looked_at_cannot_spoil_the_cache(tmp_path: Path, samples: np.ndarray) -> None:
    class Odd(Counting):
        def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
            return Utterance(samples, 16000)

    with pytest.raises(StageError, match=r"cue 1 \('hola'\): the engine gave") as caught:
        Speaker(Odd(), Store(tmp_path), 48000).utterance(HOLA, ES, "es", 1.0)
    assert caught.value.code == Code.TTS_FAILED
    assert kept(tmp_path) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Utterance]:
    """A kept utterance: its file, its bytes, and what it says."""
    folder = tmp_path_factory.mktemp("kept")
    made = Speaker(Counting(), Store(folder), 48000).utterance(HOLA, ES, "es", 1.0)
    (path,) = kept(folder)
    return path, path.read_bytes(), made


def check_damaged(whole: tuple[Path, bytes, Utterance], data: bytes) -> bool:
    """Write `data` in place of the file: whatever it is, there is an utterance in the end, either the one that was kept
    or one made anew, which then is kept. True where it was made anew."""
    path, content, made = whole
    store = Store(path.parents[2])
    [name] = store.names("utterances")
    said = store.record(name)
    assert said is not None
    path.write_bytes(data)
    try:
        engine = Counting()
        engine.asked = [("", "", "", 0.0)] * 5  # so that it does not say what it said the first time
        speaker = Speaker(engine, store, 48000)
        found = speaker.utterance(HOLA, ES, "es", 1.0)
        new = len(engine.asked) == 6
        assert speaker.spoken == ({1} if new else set())
        assert same(found, made) != new, "damaged samples never come back"
        assert same(Speaker(Counting(), store, 48000).utterance(HOLA, ES, "es", 1.0), found)
        return new
    finally:
        path.write_bytes(content)
        store.put_record(name, said)


@pytest.mark.parametrize("left", [0, 1, 10, 100, 1000, -1, -30, -200])
def test_a_file_cut_short_is_made_anew(whole: tuple[Path, bytes, Utterance], left: int) -> None:
    assert check_damaged(whole, whole[1][:left])


@pytest.mark.parametrize("data", [b"\x80\x04K*.", b"PK\x05\x06" + bytes(18), b"not a zip", b"\x93NUMPY\x01\x00"])
def test_another_file_in_its_place_is_made_anew(whole: tuple[Path, bytes, Utterance], data: bytes) -> None:
    assert check_damaged(whole, data)


@given(st.data())
@settings(max_examples=examples(60), deadline=None)
def test_flipped_bytes(whole: tuple[Path, bytes, Utterance], data: st.DataObject) -> None:
    _, good, _ = whole
    damaged = bytearray(good)
    places = st.integers(0, 300) | st.integers(0, len(good) - 1)
    for at in data.draw(st.sets(places, min_size=1, max_size=3)):
        damaged[at] ^= data.draw(st.integers(1, 255))
    # Not by pytest's words for it: they would hold all of the file.
    new = check_damaged(whole, bytes(damaged))
    assert new


def test_the_file_itself_is_found_again(whole: tuple[Path, bytes, Utterance]) -> None:
    assert not check_damaged(whole, whole[1])


def test_a_folder_in_its_place_is_an_error_of_the_storage(tmp_path: Path) -> None:
    Speaker(Counting(), Store(tmp_path), 48000).utterance(HOLA, ES, "es", 1.0)
    (path,) = kept(tmp_path)
    path.unlink()
    path.mkdir()
    (path / "x").touch()
    with pytest.raises(StageError) as caught:
        Speaker(Counting(), Store(tmp_path), 48000).utterance(HOLA, ES, "es", 1.0)
    assert caught.value.code == Code.STORAGE
