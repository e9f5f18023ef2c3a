"""Any other program: a command line that turns a text file into a sound file.

    RAYDUB_TTS_COMMAND='my-tts --text {text_file} --out {out_wav} --lang {language} --voice {voice} --speed {speed}'

The command line comes only from the environment of the user who runs raydub. A manifest may be untrusted and cannot set
it; its values (text, voice, language) reach the program as the content of a file or as part of one word: the line is
split before it is filled in, no shell is involved, and a voice that looks like an option is refused. raydub does not
require the program to be deterministic.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from raydub.bound import bound, kill_group
from raydub.errors import Code, DependencyError, InputError, StageError, UsageError
from raydub.files import sweep, writer_tag
from raydub.models.load import sha256_of
from raydub.tts.engines.base import longest, time_limit
from raydub.tts.engines.deciding import command_files
from raydub.tts.engines.files import voice_here
from raydub.tts.engines.find import COMMAND_VARIABLE, missing_command
from raydub.tts.types import Utterance, Voice

_PLACES = ("text_file", "out_wav", "language", "voice", "speed")
_PLACE = re.compile(r"\{(\w+)\}")
_NAME = re.compile(r"[^\s\-\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,199}")
_TAIL = 800


class Command:
    """The engine. Raises DependencyError DEPENDENCY_MISSING (no command line, no such program), UsageError FIELD_VALUE
    (a command line without {text_file} or {out_wav}, or with an unknown placeholder)."""

    name = "command"

    def __init__(self) -> None:
        self._template = _parse(os.environ.get(COMMAND_VARIABLE, ""))
        program = shutil.which(self._template[0])
        if program is None:
            raise DependencyError(
                Code.DEPENDENCY_MISSING,
                f"{COMMAND_VARIABLE} names the program {self._template[0]!r}, which was not found",
                hint="install it, or give its full path",
            )
        self._template[0] = program
        sweep(tempfile.gettempdir())  # left by engines that were killed

    @property
    def max_speed(self) -> float:
        """1.25 if the command line has the placeholder {speed}."""
        return 1.25 if any("{speed}" in word for word in self._template) else 1.0

    def voices(self) -> tuple[Voice, ...]:
        """None: the program's voices are not known."""
        return ()

    def named(self, name: str) -> Voice:
        """Any. InputError VOICE_UNKNOWN for a name with control characters, or one that looks like an option."""
        if name and _NAME.fullmatch(name) is None:
            raise InputError(Code.VOICE_UNKNOWN, f"{name[:80]!r} is not a valid name for a voice", field="voice")
        return Voice(name, ())

    def identity(self, voice: Voice) -> str:
        """The command line, the voice, and digests of all files that the line names, the voice's own included."""
        digests = [sha256_of(path)[:32] for path in command_files(self._template, voice.name)]
        return "command " + " ".join([shlex.join(self._template), repr(voice.name), *digests])

    def synthesise(self, text: str, voice: Voice, language: str, speed: float) -> Utterance:
        """Runs the program in its own process group, under a limit that grows with the text. The sound file may have
        any rate that libsndfile reads; channels are averaged. StageError TTS_FAILED for an exit code other than 0, no
        file, a file that is not audio, and a program that does not end."""
        self.named(voice.name)
        with tempfile.TemporaryDirectory(prefix="raydub-tts", suffix=writer_tag()) as folder:
            told, spoken = Path(folder, "text.txt"), Path(folder, "speech.wav")
            told.write_text(text + "\n", encoding="utf-8", errors="replace")
            values = {
                **{"text_file": str(told), "out_wav": str(spoken)},
                **{"language": language, "voice": voice_here(voice.name), "speed": f"{speed:.4g}"},
            }
            words = [_PLACE.sub(lambda place: values[place[1]], word) for word in self._template]
            said = _run(words, time_limit(text))
            return _read(spoken, longest(text, speed), said)


def _parse(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise _misspelt(f"cannot be split into words: {error}") from error
    if not words:
        raise missing_command()
    places = {place for word in words for place in _PLACE.findall(word)}
    if _PLACE.search(words[0]):
        raise _misspelt("must start with the name of a program")
    if unknown := places - set(_PLACES):
        raise _misspelt(
            f"has the unknown placeholder {{{min(unknown)}}}; known: {', '.join(f'{{{place}}}' for place in _PLACES)}"
        )
    for needed in ("text_file", "out_wav"):
        if needed not in places:
            raise _misspelt(f"lacks {{{needed}}}")
    return words


def _misspelt(reason: str) -> UsageError:
    return UsageError(
        Code.FIELD_VALUE,
        f"{COMMAND_VARIABLE} {reason}",
        hint="for example: my-tts --text {text_file} --out {out_wav} --lang {language}",
    )


def _run(words: list[str], limit: float) -> str:
    """The last part of the program's stderr."""
    with tempfile.TemporaryFile() as noise:
        process = subprocess.Popen(
            bound(words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=noise, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired as error:
            raise _failed(f"was still running after {limit:.0f} s and was killed", _end_of(noise)) from error
        finally:
            # The whole group, with everything that it has started.
            kill_group(process.pid)
            process.wait()
        said = _end_of(noise)
    if code != 0:
        how = f"ended with exit code {code}" if code > 0 else f"crashed (signal {-code})"
        raise _failed(how, said)
    return said


def _end_of(noise: IO[bytes]) -> str:
    size = noise.seek(0, os.SEEK_END)
    noise.seek(max(0, size - _TAIL))
    return noise.read().decode("utf-8", "replace").strip()


def _read(path: Path, limit: float, said: str) -> Utterance:
    import soundfile

    if not path.is_file():
        raise _failed("wrote no sound file", said)
    try:
        with soundfile.SoundFile(path) as file:
            rate = int(file.samplerate)
            # One sample more than allowed: the check of the answer reports that it is too long.
            samples = file.read(int(limit * rate) + 1, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise _failed("wrote a file that is not an audio file", str(error) or said) from error
    return Utterance(samples.mean(axis=1, dtype=np.float32), rate)


def _failed(how: str, said: str) -> StageError:
    words = f": {said}" if said else ", with no output on stderr"
    return StageError(
        Code.TTS_FAILED, f"the program of {COMMAND_VARIABLE} {how}{words}", hint="run its command line by hand"
    )
