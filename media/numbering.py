"""Find missing, repeated or mixed numbers in the file names of an image folder.

Programs number frames in even steps, by one or any other number (every fifth frame). A missing number then is an image
that was lost or not copied, and the video is shorter than it should be. Folders without numbers, or whose numbers have
no usual step (dates, random ones), have no gaps.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

_LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$", re.DOTALL)
_NAMED = 5
# The usual step must make up this share of all steps; otherwise the numbers do not count frames.
_USUAL = 0.5
_SERIES = 3


def doubts(names: Sequence[str]) -> tuple[str, ...]:
    """Warnings ("W_GAPS: ..") about gaps in the names of a folder's images. names: without folder, in the order in
    which they are shown."""
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
            f"W_GAPS: the folder contains several series of images, {len(names) - longest} images beside the longest "
            f"(series begin with {_listed(firsts)}); they are shown in sequence"
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
