"""One cue as in its file, the limits of all formats, and the two reactions to problems: refuse or warn.

A format's reader never drops anything silently: it yields a Cue, adds a remark to Notes, or raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from raydub.errors import Code, InputError

MAX_BYTES = 16 << 20
MAX_LINES = 500_000
MAX_PROSE = 2_000_000
"""Characters of plain text, beyond 24 hours of speech."""
MAX_CUES = 20_000
MAX_RAW = 10_000
"""Characters of a cue with its brackets and names."""
MAX_TEXT = 1_000
"""Characters of a cue as it is spoken."""
MAX_NAME = 100
"""Characters of a speaker's or voice's name, and of a language."""
MAX_SECONDS = 24 * 3600
MAX_WARNINGS = 20

WARNING = "W_SCRIPT"


@dataclass(frozen=True)
class Cue:
    """One cue, free of its form's markup but not yet of names, brackets and line breaks. number: its place in the file,
    from 1; line: of the file, from 1, where it begins, None where the form has no lines; start, end: seconds as
    written, unchecked; spoken: has its reader handled names, brackets and line breaks already?"""

    number: int
    line: int | None
    text: str
    start: Fraction | None = None
    end: Fraction | None = None
    speaker: str = ""
    voice: str = ""
    language: str = ""
    spoken: bool = False


@dataclass
class Notes:
    """Remarks about cues that were repaired or left out."""

    _said: list[tuple[int, str]] = field(default_factory=list)
    _guessed: dict[str, list[int]] = field(default_factory=dict)

    def add(self, number: int, sentence: str) -> None:
        """Add a sentence about cue `number`."""
        self._said.append((number, sentence))

    def guess(self, number: int, name: str) -> None:
        """Add that cue `number` begins with what looks like a speaker's name and might be a word."""
        self._guessed.setdefault(name, []).append(number)

    def warnings(self) -> tuple[str, ...]:
        """In order of the cues; those beyond MAX_WARNINGS are counted in one last line."""
        # A repeated name is a name; "Attention: the train leaves." occurs once, and a word might be lost.
        once = [(numbers[0], name) for name, numbers in self._guessed.items() if len(numbers) == 1]
        guesses = [(number, f"{name!r} at its beginning is taken as the speaker's name") for number, name in once]
        said = sorted(self._said + guesses, key=lambda remark: remark[0])
        shown = [f"{WARNING}: cue {number}: {sentence}" for number, sentence in said[:MAX_WARNINGS]]
        rest = said[MAX_WARNINGS:]
        if rest:
            cues = sorted({number for number, _ in rest})
            shown.append(f"{WARNING}: {len(rest)} more remarks, about cues {cues[0]} to {cues[-1]}")
        return tuple(shown)


def bad_cue(number: int, line: int | None, message: str, hint: str) -> InputError:
    """SCRIPT_CUE with the cue's number, and its line in the file where that is known."""
    place = f"cue {number}" if line is None else f"cue {number} (line {line})"
    return InputError(Code.SCRIPT_CUE, f"{place}: {message}", hint=hint, field="script")


def unreadable(message: str, hint: str) -> InputError:
    """SCRIPT_UNREADABLE."""
    return InputError(Code.SCRIPT_UNREADABLE, message, hint=hint, field="script")


def shown(text: str, most: int = 60) -> str:
    """A quoted beginning of `text`, of at most so many characters, for a message."""
    return repr(text if len(text) <= most else f"{text[:most]}..")
