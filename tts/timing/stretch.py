"""Change the length of speech at the same pitch: libav's atempo, padded so that neither end is lost.

atempo (overlap-add of similar windows) works on a grid of windows: it delays nothing at the start, and drops
what does not fill its last window. So the speech goes in followed by silence, and the result is cut to length;
silence before it would only disturb the search for similar windows.

Chosen over librosa's phase vocoder (frames of 1024) by measurements at 24 kHz, factors 0.8 to 3, real speech of two
voices unless stated otherwise:

- log-mel distance to the same moment of the original: 1.3 to 2.5 dB up to factor 1.6, where the vocoder smears to 2.8
  to 5.0; beyond 2.1 to 5.8 against 3.5 to 6.4. A click keeps its height up to 1.3 (vocoder: 0.81 of it);
- pitch: eight harmonics within 0.9 cents (0.1), the median over speech the same to the step of the tracker for both;
- onset after 10 ms of lead, five recordings: moved by 0.1 ms or less at 1.05 to 1.15, by 3.4 ms at most beyond;
- drawback: 90 % of the sound is within 14 ms of its exact position (10), because windows are moved.

Beyond 2 it leaves samples out between windows; two passes of the root of the factor were no better (3.2 to 5.2 dB where
one has 2.8 to 5.8, and the sound lies within 12 ms of its place rather than 9).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from raydub.arrays import F32
from raydub.media.samples import packed_frame

SLOWEST, FASTEST = 0.5, 4.0
_TAIL = 0.25
_BLOCK = 4096


def stretch(samples: F32, rate: int, length: int) -> F32:
    """(length,) float32: the (n,) `samples` at `rate` Hz, spoken in the time of `length` samples. n == length gives the
    samples as they are. Raises ValueError for factors n / length outside SLOWEST .. FASTEST."""
    if len(samples) == length:
        return samples
    if length < 1 or not SLOWEST <= len(samples) / length <= FASTEST:
        raise ValueError(f"{len(samples)} samples cannot be spoken in the time of {length}")
    import av.filter

    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    tempo = graph.add("atempo", f"{len(samples) / length:.9f}")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, tempo, sink).configure()
    padded = np.concatenate([samples, np.zeros(round(_TAIL * rate) + _BLOCK, np.float32)])
    found: list[F32] = []
    for start in range(0, len(padded), _BLOCK):
        source.push(packed_frame(padded[start : start + _BLOCK], rate, "mono", start))
        found += _drained(sink)
    source.push(None)
    found += _drained(sink)
    whole = np.concatenate(found)
    made = np.zeros(length, np.float32)
    made[: len(whole)] = whole[:length]
    return made


def _drained(sink: object) -> list[F32]:
    import av.error

    found: list[F32] = []
    while True:
        try:
            frame = sink.pull()  # type: ignore[attr-defined]
        except (av.error.BlockingIOError, av.error.EOFError):
            return found
        found.append(frame.to_ndarray().reshape(-1).astype(np.float32))
