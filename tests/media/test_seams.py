"""Sound and film files that end before their own headers say, in every container, for lips and for listening."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from raydub.errors import Code, InputError
from raydub.media.audio import decode_speech
from raydub.media.sound import sound_blocks
from tests.ffmpeg import ffmpeg_program

SOUNDS = {
    "wav": ["-c:a", "pcm_s16le"],
    "rf64.wav": ["-c:a", "pcm_s16le", "-rf64", "always"],
    "w64": ["-c:a", "pcm_s24le"],
    "aiff": ["-c:a", "pcm_s16be"],
    "caf": ["-c:a", "pcm_s16le"],
    "ogg": ["-c:a", "libvorbis"],
    "opus": ["-c:a", "libopus"],
    "flv": ["-c:a", "aac"],
    "asf": ["-c:a", "wmav2"],
    "mka": ["-c:a", "flac"],
    "m4a": ["-c:a", "aac"],
    "mp3": ["-c:a", "libmp3lame"],
}


@pytest.fixture(scope="module", params=SOUNDS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("seams") / f"x.{request.param}"
    source = "aevalsrc=exprs=0.3*sin(1900*t)+0.05*random(0):s=44100:d=4"
    call = [ffmpeg_program(), "-nostdin", "-y", "-loglevel", "error", "-f", "lavfi", "-i", source]
    subprocess.run([*call, *SOUNDS[request.param], str(path)], check=True)
    return path


def test_whole_sounds_are_read(whole: Path) -> None:
    assert len(decode_speech(str(whole))) / 16000 == pytest.approx(4.0, abs=0.1)
    assert sum(map(len, sound_blocks(str(whole), 44100, 1))) / 44100 == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_cut_sounds_are_refused(tmp_path: Path, whole: Path, share: float) -> None:
    data = whole.read_bytes()
    path = tmp_path / whole.name
    path.write_bytes(data[: int(len(data) * share)])
    for read in (decode_speech, lambda path: list(sound_blocks(path, 44100, 1))):
        with pytest.raises(InputError) as caught:
            read(str(path))
        assert caught.value.code in (Code.INPUT_TRUNCATED, Code.INPUT_UNREADABLE)
