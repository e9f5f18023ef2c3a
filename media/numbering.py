"""A folder of pictures is in order of its numbers: are any missing, twice there, or of two series?

Frames that a program wrote are numbered in even steps, by one or by any other (every fifth frame). A number that is
missing then is a picture that was lost or not copied, and the film is shorter than it should be. Folders without
numbers, or whose numbers say nothing (dates, random ones), have no gaps.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

_LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)
_NAMED = 5
# At least so large a part of the steps must be the usual one: less, and the numbers are no count of frames.
_USUAL = 0.5
_SERIES = 3


def doubts(names: Sequence[str]) -> tuple[str, ...]:
    """Sentences ("W_GAPS: ..") on what the names of a folder's pictures say against its being whole. names: without
    folder, in the order in which they are shown."""
    found: list[str] = []
    series: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = _LAST_NUMBER.match(os.path.splitext(name)[0])
        if match is not None:
            series.setdefault(f"{match[1]}\0{match[3]}".casefold(), []).append((int(match[2]), name))
    numbered = [members for members in series.values() if len(members) > 1]
    for members in numbered:
        found += _of_one(members)
    longest = max((len(members) for members in numbered), default=0)
    true = [members for members in numbered if len(members) >= _SERIES]
    if len(true) > 1 or (true and longest * 2 >= len(names) > longest):
        firsts = [members[0][1] for members in true]
        found.append(
            f"W_GAPS: the folder holds pictures of several series, {len(names) - longest} beside the longest (series "
            f"begin with {_listed(firsts)}); they are shown one after the other"
        )
    return tuple(found)


def _of_one(members: list[tuple[int, str]]) -> list[str]:
    found = []
    counts = Counter(number for number, _ in members)
    twice = [number for number, count in counts.items() if count > 1]
    if twice:
        pair = [name for number, name in members if number == twice[0]]
        found.append(
            f"W_GAPS: the folder has {len(twice)} numbers more than once ({_listed(pair)}); each is shown as a frame"
        )
    numbers = sorted(counts)
    steps = [after - before for before, after in pairwise(numbers)]
    if not steps:
        return found
    usual, often = Counter(steps).most_common(1)[0]
    if often < _USUAL * len(steps) or often == len(steps):
        return found
    missing: list[int] = []
    total = 0
    for before, step in zip(numbers, steps, strict=False):
        lost = step // usual - 1 if step > usual and step % usual == 0 else int(step > usual)
        total += lost
        missing += [before + usual * (place + 1) for place in range(min(lost, _NAMED))]
    if total:
        digits = len(_digits(members[0][1])) if _digits(members[0][1]).startswith("0") else 0
        named = [str(number).zfill(digits) for number in missing[:_NAMED]]
        more = ", ..." if total > len(named) else ""
        found.append(
            f"W_GAPS: the folder lacks {total} numbers between {numbers[0]} and {numbers[-1]} "
            f"({', '.join(named)}{more}); the frames after a gap come earlier by as many"
        )
    return found


def _digits(name: str) -> str:
    match = _LAST_NUMBER.match(os.path.splitext(name)[0])
    return match[2] if match is not None else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
