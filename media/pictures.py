"""Find missing MPEG-1 and MPEG-2 pictures by the numbers that they have within their group (ISO 13818-2, 6.3.9).

In program and transport streams pictures are found by their start codes. If damage hits such a code, the picture is
lost, its remains are taken for slices of the one before, and the decoder does not complain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from raydub.arrays import I64

CODECS = frozenset({"mpeg1video", "mpeg2video"})
_HEAD = 1024
_INTRA = 1
# A picture may be shown for three times its length (repeat_first_field in a progressive sequence).
_MAY_REPEAT = 3.5
# A longer jump is a joint between two recordings.
_JOINT = 250


class PictureNumbers:
    """Counts numbers that are left out. `missing`: how many, of the groups that have ended."""

    def __init__(self) -> None:
        self.missing = 0
        self._seen: set[int] = set()

    def see(self, packet: Any) -> None:
        """One picture (or field), in the order of the file."""
        head = bytes(memoryview(packet)[:_HEAD])
        at = head.find(b"\0\0\1\0")
        if at < 0 or at + 6 > len(head):
            return
        number = head[at + 4] << 2 | head[at + 5] >> 6
        intra = head[at + 5] >> 3 & 7 == _INTRA
        if b"\0\0\1\xb8" in head[:at] or (intra and self._seen and number < max(self._seen)):
            self.end()
        elif number in self._seen and max(self._seen) > 1:
            self.missing += 1  # a new group without a header
            self.end()
        self._seen.add(number)

    def end(self) -> None:
        """The group is complete. Its first numbers may be missing: pictures before a cut."""
        if self._seen:
            span = max(self._seen) - min(self._seen) + 1
            # A larger span is another numbering, not a gap.
            self.missing += span - len(self._seen) if span <= 2 * len(self._seen) else 0
        self._seen.clear()


def pauses(pts: I64, shown: int, last: int) -> int:
    """Number of missing pictures by the time stamps: in these codecs each picture is shown until the next.

    pts: (N > 1,) sorted times; shown: sum of the pictures' stated lengths; last: length of the last one; all in ticks.
    """
    steps = np.diff(pts)
    usual = max(float(np.median(steps)), 1.0)
    steps = steps[steps < _JOINT * usual]
    jumps = float((steps[steps > _MAY_REPEAT * usual] / usual - 1).sum())
    unstated = (int(steps.sum()) + last - shown) / max(last, usual)
    return max(0, round(unstated), round(jumps))
