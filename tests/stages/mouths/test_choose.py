"""The choice of mouths: the same wherever chunks begin and end, cheap, and the search is right."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.models.mouth.spoken import SpokenMouth
from raydub.stages.mouths.choose import GRID, HALO, choose
from raydub.stages.mouths.direct import HALO as ITEMS_HALO
from raydub.stages.mouths.direct import direct, opacity, spoken_at
from raydub.stages.mouths.gallery import Gallery
from tests.examples import examples
from tests.stages.mouths.talker import Talker


@settings(deadline=None, max_examples=examples(40))
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 260), start=st.integers(0, 100), chunk=st.integers(1, 120))
def test_a_chunk_decides_as_the_whole(seed: int, n: int, start: int, chunk: int) -> None:
    """Also with frames that need no mouth, cuts, and many equal costs."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 12))
    costs = rng.integers(0, 6, (n, m)).astype(np.float32) * np.float32(0.3)
    costs[rng.random(n) < 0.1] = 0
    steps = rng.integers(0, 9, (m, m)).astype(np.float32) * np.float32(0.1)
    joined = rng.random(n) > 0.1
    whole = choose(costs, steps, joined, start)
    for first in range(0, n, chunk):
        last = min(first + chunk, n)
        low, high = max(0, first - HALO), min(n, last + HALO)
        part = choose(costs[low:high], steps, joined[low:high], start + low)
        assert (part[first - low : last - low] == whole[first:last]).all()


def test_it_finds_the_cheapest() -> None:
    """Against all sequences, in a stretch without a grid frame inside."""
    rng = np.random.default_rng(3)
    costs, steps = rng.random((6, 3)).astype(np.float32), rng.random((3, 3)).astype(np.float32)
    joined = np.array((False, True, True, False, True, True))
    path = choose(costs, steps, joined, 1)

    def total(way: tuple[int, ...]) -> float:
        here = sum(float(costs[t, k]) for t, k in enumerate(way))
        return here + sum(float(steps[way[t - 1], way[t]]) for t in range(1, 6) if joined[t])

    assert tuple(path) == min(itertools.product(range(3), repeat=6), key=total)
    assert GRID > 6


def saying(opening: npt.NDArray[Any], width: npt.NDArray[Any], closure: npt.NDArray[Any]) -> SpokenMouth:
    """What a speech might say, without rounding and teeth."""
    z, w, shut = (np.asarray(one, np.float32) for one in (opening, width, closure))
    return SpokenMouth(z, w, shut, z * 0, z * 0)


@pytest.fixture(scope="module")
def talker() -> Talker:
    return Talker(230)


@pytest.fixture(scope="module")
def gallery(talker: Talker) -> Gallery:
    return talker.gallery()


@pytest.mark.parametrize("chunk", [7, 17, 50, 97])
def test_mouths_do_not_depend_on_chunks(chunk: int, talker: Talker, gallery: Gallery) -> None:
    items = talker.items(first=11)
    said = saying(np.sin(np.arange(230) / 2.9), np.cos(np.arange(230) / 4), (np.arange(230) % 19 == 0) * 1.0)
    items.fresh[[40, 130]] = True
    keep = np.ones(230, np.bool_)
    keep[60:66] = False
    items, said = items.rows(keep), spoken_at(said, np.flatnonzero(keep))
    part = np.zeros(len(items), np.int32)
    whole = direct(items, part, {0: gallery}, said).arrays()
    assert (whole["own"] == 1).all()
    shut = gallery.shape.opening[whole["donors"][said.closure > 0, 0]]
    assert shut.max() < gallery.people[0].openings[0] + 0.3 * gallery.people[0].spread
    assert len(np.unique(whole["donors"])) > 30
    for first in range(11, 241, chunk):
        near = (items.frame >= first - ITEMS_HALO) & (items.frame < first + chunk + ITEMS_HALO)
        mine = (items.frame >= first) & (items.frame < first + chunk)
        made = direct(items.rows(near), part[near], {0: gallery}, spoken_at(said, np.flatnonzero(near))).arrays()
        for name, rows in made.items():
            assert rows[mine[near]].tobytes() == whole[name][mine].tobytes(), name


def test_mouths_follow_what_is_said(talker: Talker, gallery: Gallery) -> None:
    """The speech says the mouths of other frames: their openings are found."""
    items, shift = talker.items(), 57
    openings = np.array([gallery.people[0].openings[16]])
    assert 0.02 < float(openings[0]) < 0.2
    z = np.roll(np.sin(np.arange(talker.n) / 2.3), shift).astype(np.float32)
    made = direct(items, np.zeros(talker.n, np.int32), {0: gallery}, saying(z, z * 0, z * 0))
    shown = gallery.shape.opening[made.donors[:, 0]]
    assert np.corrcoef(shown, z)[0, 1] > 0.9
    follows = np.diff(gallery.frame[made.donors[:, 0]])
    assert np.isin(follows, (0, 1, 2)).mean() > 0.6  # mouths go on as they were filmed


def test_nobody_else_s_mouth(talker: Talker, gallery: Gallery) -> None:
    items = talker.items()
    items.identity[:100] = -1.0
    items.identity[100:120] = 0.0  # not known
    made = direct(items, np.zeros(talker.n, np.int32), {0: gallery}, saying(*np.zeros((3, talker.n))))
    assert (made.own[:120] == 0).all()
    assert (made.own[124:] == 1).all()
    assert (np.diff(made.own[118:126]) >= 0).all()


def test_opacity_runs_over_frames_and_stops_at_cuts() -> None:
    fits = np.array([1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1], np.bool_)
    follows = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1], np.bool_)
    expected = [1, 1, 0.75, 0.5, 0.25, 0, 0.25, 0.5, 1, 1, 1, 1]
    assert opacity(fits, follows).tolist() == expected
