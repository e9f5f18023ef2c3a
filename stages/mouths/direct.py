"""From what the speech wants to what is drawn: for each frame of one face the mouths shown, where their points go, and
how far they cover what the warp draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from raydub.arrays import F32, F64, I32, I64, Bools
from raydub.models.mouth.spoken import SpokenMouth
from raydub.stages.mouths.choose import HALO as _CHOICE_HALO
from raydub.stages.mouths.choose import choose
from raydub.stages.mouths.costs import FITS, Targets, frame_costs, step_costs
from raydub.stages.mouths.covered import is_covered, is_foreign
from raydub.stages.mouths.gallery import Gallery
from raydub.stages.mouths.place import SPREAD, placed, shapes, smooth_steps
from raydub.stages.mouths.shape import fit
from raydub.stages.mouths.wanted import wanted_of
from raydub.stages.track.look import LOOK, Looks
from raydub.stages.types import FaceItems

RAMP = 3
"""Frames over which the mouths come in after a frame where none fits, and go before one."""
HALO = _CHOICE_HALO + SPREAD + 2
"""Output frames around a span whose items its mouths depend on."""
_FADES = (0.4, 0.2)
"""Shares of the other run's mouth in the frames beside a change, on both sides, the nearest first."""


@dataclass(frozen=True)
class Directed:
    """n rows. part (n,): number of the gallery; donors (n, 2): its mouths, shares (n, 2) add up to 1; goal (n, 68, 2):
    frame pixels; own (n,): opacity over the warp's mouth, 0 where no mouth fits; bare (n,): opacity of
    both, 0 where something is before the mouth."""

    part: I32
    donors: I32
    shares: F32
    goal: F32
    own: F32
    bare: F32

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, for LipEngine.infer."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @staticmethod
    def blank(items: FaceItems, part: I32) -> Directed:
        """Rows for items, with no mouths yet."""
        n = len(items)
        shares = np.tile(np.array((1, 0), np.float32), (n, 1))
        goal = items.landmarks.astype(np.float32).copy()
        donors, own = np.zeros((n, 2), np.int32), np.zeros(n, np.float32)
        return Directed(part.astype(np.int32), donors, shares, goal, own, np.ones(n, np.float32))

    def put(self, rows: I64, given: Directed) -> None:
        """Fill some rows."""
        for one in fields(self):
            getattr(self, one.name)[rows] = getattr(given, one.name)


def direct(items: FaceItems, part: I32, galleries: Mapping[int, Gallery], said: SpokenMouth) -> Directed:
    """items: of one face, in order of frames; part (n,): the number of the gallery for each; galleries: by number;
    said: of n frames. Right for rows that are HALO frames from the others' ends, see choose()."""
    n = len(items)
    made = Directed.blank(items, part)
    fits, covered = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    identity = items.identity if len(items.identity) else np.zeros((n, 0), np.float32)
    for number in np.unique(part).tolist():
        here, gallery = part == number, galleries[number]
        who = gallery.who(identity)
        for person in range(len(gallery.people) if len(gallery) else 0):
            rows = np.flatnonzero(here & (who == person))
            if len(rows):
                fits[rows], covered[rows] = _of_person(
                    items.rows(rows), gallery, person, spoken_at(said, rows), made, rows
                )
    follows = continues(items)
    if len(items.look):
        covered |= is_foreign(Looks.of(items.look), follows)
    made.own[:], made.bare[:] = opacity(fits, follows), opacity(~covered, follows)
    return made


def _of_person(
    items: FaceItems, gallery: Gallery, person: int, said: SpokenMouth, made: Directed, rows: I64
) -> tuple[Bools, Bools]:
    """Decide the rows of one person, write them to `made`; (n,) bool each: a mouth fits, the face's own is covered."""
    n, look = len(items), items.look if len(items.look) else np.zeros((len(items), LOOK), np.uint8)
    fitted = fit(items.landmarks, gallery.people[person].reference)
    wanted = wanted_of(said, gallery.people[person])
    targets = Targets(items.source, np.full(n, person, np.int32), fitted.pose, Looks.of(look))
    costs = frame_costs(gallery, targets, wanted)
    joined = continues(items)
    first = int(items.frame[0])
    places = items.frame.astype(np.int64) - first
    dense = np.zeros((int(places[-1]) + 1, len(gallery)), np.float32)
    dense[places] = costs
    follows = np.zeros(len(dense), np.bool_)
    follows[places] = joined
    path = choose(dense, step_costs(gallery), follows, first)[places]
    goal = placed(items.landmarks, fitted, shapes(gallery, path, joined, wanted))
    fits = np.asarray(costs[np.arange(n), path] <= FITS, np.bool_)
    made.donors[rows], made.shares[rows] = _fades(gallery, path, joined, wanted.touch)
    made.goal[rows] = goal
    return fits, is_covered(targets.looks, gallery, person, fitted.pose, joined)


def spoken_at(said: SpokenMouth, rows: I64) -> SpokenMouth:
    """Some of the frames."""
    return SpokenMouth(**{one.name: getattr(said, one.name)[rows] for one in fields(said)})


def continues(items: FaceItems) -> Bools:
    """(n,) bool: the row shows the same picture as the row before, a frame later."""
    follows = np.concatenate(([False], np.diff(items.frame) == 1)) if len(items) else np.zeros(0, np.bool_)
    return np.asarray(follows & ~items.fresh if len(items.fresh) else follows, np.bool_)


def opacity(fits: Bools, follows: Bools) -> F32:
    """(n,): 1 where a mouth fits, 0 where none does, with ramps before and after such frames of the same picture."""
    level = np.where(fits, RAMP + 1, 0)
    for _ in range(RAMP + 1):
        before = np.concatenate((level[:1], level[:-1]))
        after = np.concatenate((level[1:], level[-1:]))
        to_next = np.concatenate((follows[1:], [False]))
        level = np.minimum(level, np.where(follows, before + 1, level))
        level = np.minimum(level, np.where(to_next, after + 1, level))
    return (level / np.float32(RAMP + 1)).astype(np.float32)


def _fades(gallery: Gallery, path: I64, joined: Bools, touch: F64) -> tuple[I32, F32]:
    """(donors, shares) of Directed: where one run follows another, each shows some of the other as if it went on; but
    touching lips show nothing of an open mouth."""
    n = len(path)
    donors, shares = np.stack((path, path), axis=1).astype(np.int32), np.zeros((n, 2), np.float32)
    after, before = gallery.followers(1), gallery.followers(-1)
    for at in np.flatnonzero(joined & ~smooth_steps(gallery, path)).tolist():
        if at == 0:
            continue
        one, other = int(path[at - 1]), int(path[at])
        for k, share in enumerate(_FADES):
            one = int(after[one]) if after[one] >= 0 else one
            other = int(before[other]) if before[other] >= 0 else other
            for row, shown, links in ((at + k, one, joined[at : at + k + 1]), (at - 1 - k, other, joined[at - k : at])):
                if 0 <= row < n and links.all() and share > shares[row, 1]:
                    donors[row, 1], shares[row, 1] = shown, share
    shares[touch > 0.5, 1] = 0
    shares[:, 0] = 1 - shares[:, 1]
    return donors, shares
