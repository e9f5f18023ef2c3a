"""The blind choice: frames of two engines, in random order and without labels, scored by measures that were fixed
before (bench.judging.looks).

Of each pair PER_PAIR frames are drawn by lot, among those that both engines changed. Of each frame the two pictures
are called A and B by lot. Scores see pictures and the person's own source frames only. In a measure the picture that
is less unlike the person wins the frame, by at least CLEAR spreads, else the measure is a tie; the picture with more
measures won wins the frame. The key is a file of its own and is read when all scores are made.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import binomtest

from bench.judging.looks import MEASURES, Own, unlike
from raydub.arrays import F32, U8, Bools
from raydub.stages.evaluate.aligned import Place
from raydub.stages.evaluate.pixels import changed, luma_of

PER_PAIR = 12
CLEAR = 0.1


@dataclass(frozen=True)
class Shown:
    """One engine's still film: faces (n, h, w, 3) BGR, points (n, 68, 2) in them, present (n,), touching (n,): do the
    lips touch. drawn: frames count only where it differs from the source."""

    faces: U8
    points: F32
    present: Bools
    touching: Bools
    drawn: bool = True


@dataclass
class Blind:
    """Collects frames pair by pair. folder: where pictures, scores and key go; seed: of the lots."""

    folder: Path
    seed: int
    scores: list[dict[str, object]] = field(default_factory=list)
    key: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lots = np.random.default_rng(self.seed)

    def add(self, pair: str, source: U8, place: Place, own: Own, films: Mapping[str, Shown]) -> None:
        """Draw and score frames of a pair. films: exactly two, by engine."""
        (_, one), (_, other) = films.items()
        names = list(films)
        for at in self._chosen(source, place, (one, other)):
            number = f"{len(self.scores):04}"
            order = self._lots.permutation(2)
            found: dict[str, object] = {"frame": number, "pair": pair}
            for label, which in zip("AB", order, strict=True):
                film = (one, other)[which]
                cv2.imwrite(str(self.folder / f"{number}_{label}.png"), film.faces[at])
                found[label] = unlike(film.faces[at - 1 : at + 2], film.points[at], place, own)
            self.scores.append(found)
            self.key[number] = {label: names[which] for label, which in zip("AB", order, strict=True)}

    def _chosen(self, source: U8, place: Place, films: Sequence[Shown]) -> list[int]:
        candidates = []
        for at in range(1, len(source) - 1):
            if not (place.joined[at] and place.joined[at + 1]) or not all(film.present[at] for film in films):
                continue
            own = luma_of(source[at : at + 1])[0]
            drawn = [luma_of(film.faces[at : at + 1])[0] for film in films if film.drawn]
            if all(changed(own, one, place.unit).any() for one in drawn):
                candidates.append(at)
        picked = self._lots.permutation(len(candidates))[:PER_PAIR]
        return sorted(candidates[which] for which in picked)

    def verdict(self) -> dict[str, object]:
        """Writes scores.json and key.json, then opens the key: who wins by how much, see `tally`."""
        (self.folder / "scores.json").write_text(json.dumps(self.scores, indent=1), encoding="utf-8")
        (self.folder / "key.json").write_text(json.dumps(self.key, indent=1), encoding="utf-8")
        return tally(self.scores, self.key)


def tally(scores: Sequence[Mapping[str, object]], key: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """frames; won: frames won by engine, and ties; by_measure: the same in each measure; by_pair: the same by pair;
    unlike: mean spreads from the person's usual by engine and measure; p: two-sided sign test over the frames without
    ties (frames of one clip are alike, so it flatters); winner: of the most frames, None for a tie."""
    won: Counter[str] = Counter()
    by_measure = {name: Counter[str]() for name in MEASURES}
    by_pair: dict[str, Counter[str]] = {}
    sums: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        label = dict(key[str(score["frame"])])
        a, b = score["A"], score["B"]
        assert isinstance(a, Mapping)
        assert isinstance(b, Mapping)
        lead = 0
        for name in MEASURES:
            gap = float(b[name]) - float(a[name])
            side = "tie" if abs(gap) < CLEAR else label["A" if gap > 0 else "B"]
            by_measure[name][side] += 1
            lead += 0 if side == "tie" else 1 if side == label["A"] else -1
            for letter, values in (("A", a), ("B", b)):
                sums.setdefault(label[letter], {}).setdefault(name, []).append(float(values[name]))
        winner = "tie" if lead == 0 else label["A" if lead > 0 else "B"]
        won[winner] += 1
        by_pair.setdefault(str(score["pair"]), Counter())[winner] += 1
    engines = sorted(sums)
    decided = [won[name] for name in engines]
    return {
        "frames": len(scores),
        "won": dict(won),
        "by_measure": {name: dict(count) for name, count in by_measure.items()},
        "by_pair": {name: dict(count) for name, count in by_pair.items()},
        "unlike": {
            engine: {name: round(float(np.mean(values)), 3) for name, values in sums[engine].items()}
            for engine in engines
        },
        "p": float(binomtest(decided[0], sum(decided)).pvalue) if len(decided) == 2 and sum(decided) else None,
        "winner": engines[int(decided[1] > decided[0])] if len(set(decided)) == 2 else None,
    }
