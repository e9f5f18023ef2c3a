"""Pictures of the lower faces: a row for the source and for each engine, spread over the film and in sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from bench.judging.blind import Shown
from raydub.arrays import U8
from raydub.stages.evaluate.aligned import Place

COLUMNS = 12
WIDTH = 150
TOP, BOTTOM = 0.5, 1.65
"""Eye distances below the middle of the eyes at which the pictures begin and end: nose to chin."""
_LABEL = 16


def sheet(films: Mapping[str, Shown], place: Place, path: Path, chosen: Sequence[int] = ()) -> None:
    """Write the sheet of films by name, the source first: COLUMNS frames spread over those with a face, then the frames
    `chosen`, or COLUMNS in sequence from the middle on. A "t" beside a number: the lips touch, as the judge measures.
    At most 1800 pixels wide."""
    seen = np.flatnonzero(place.present)
    spread = seen[np.unique(np.linspace(0, len(seen) - 1, COLUMNS).astype(int))]
    middle = min(len(seen) // 2, max(len(seen) - COLUMNS, 0))
    second = np.array(chosen[:COLUMNS], int) if chosen else seen[middle : middle + COLUMNS]
    blocks = []
    for frames in (spread, second):
        for name, film in films.items():
            said = [f"{at} t" if film.touching[at] else f"{at}" for at in frames]
            blocks.append(_labelled([_lower(film.faces[at], place) for at in frames], [f"{name} {said[0]}", *said[1:]]))
    width = max(block.shape[1] for block in blocks)
    padded = [cv2.copyMakeBorder(block, 0, 0, 0, width - block.shape[1], cv2.BORDER_CONSTANT) for block in blocks]
    cv2.imwrite(str(path), np.vstack(padded))


def _lower(face: U8, place: Place) -> U8:
    rows = slice(round((0.45 + TOP) * place.unit), round((0.45 + BOTTOM) * place.unit))
    part = face[rows, round(0.3 * place.unit) : round(1.6 * place.unit)]
    height = round(part.shape[0] * WIDTH / part.shape[1])
    return np.asarray(cv2.resize(part, (WIDTH, height), interpolation=cv2.INTER_CUBIC))


def _labelled(pictures: list[U8], said: list[str]) -> U8:
    row = np.hstack(pictures)
    out = np.zeros((row.shape[0] + _LABEL, row.shape[1], 3), np.uint8)
    out[_LABEL:] = row
    for at, text in enumerate(said):
        place = (at * WIDTH + 3, 12)
        cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return out
