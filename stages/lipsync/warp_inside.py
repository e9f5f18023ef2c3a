"""The inside of the mouth: teeth and dark, from the person's own open mouth or, without one, drawn.

An inside is stored straightened: rows count pixels from one lip's inner edge (SCALE pixels a face unit), columns run
from the left inner corner to the right one. Teeth belong to a jaw: upper teeth stay under the upper lip while the lower
lip comes down and shows more of them, lower teeth go down with the lower lip. So the inside is attached to the lip on
whose side its teeth are, and is hardly stretched: beyond it is dark.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from raydub.arrays import F32, U8
from raydub.media.chroma import bgr_to_yuv, quarter
from raydub.media.info import Colour
from raydub.stages.engine import Arrays
from raydub.stages.lipsync.warp_edges import refine, straighten
from raydub.stages.lipsync.warp_field import Opening, smooth
from raydub.stages.lipsync.warp_shape import axes_of, curves_of, openness_of

ROWS, COLS = 96, 160  # of a straightened inside
SCALE = 240.0  # rows a face unit: ROWS covers an opening of 0.4
EDGE = 0.012  # face units off either edge, where lip and inside mix
MOST_STRETCH = 1.3
SEAM = 0.45  # darkness of the line drawn between lips that were open and are to be closed
SEEN_OPENING = 0.075  # face units: an opening this high shows enough to be kept


@dataclass(frozen=True)
class Inside:
    """pixels (ROWS, COLS, 3) BGR uint8; light (3,) float32 mean BGR of the lips and the skin around them, to match
    another frame's light; height (COLS,) float32 face units of opening that were seen in each column, 0.4 where all is
    drawn; standing: rows count up from the lower lip, not down from the upper one; seen: taken
    from a picture, not drawn."""

    pixels: U8
    light: F32
    height: F32
    standing: bool = False
    seen: bool = False

    def arrays(self) -> dict[str, np.ndarray]:
        """In the form that prepare returns."""
        return {
            "inside_pixels": self.pixels,
            "inside_light": self.light,
            "inside_height": self.height,
            "inside_standing": np.array((self.standing,), np.uint8),
            "inside_seen": np.array((self.seen,), np.uint8),
        }

    @staticmethod
    def of(arrays: Arrays) -> Inside | None:
        """The inverse of arrays(); None without an inside."""
        if "inside_pixels" not in arrays:
            return None
        return Inside(
            np.asarray(arrays["inside_pixels"], np.uint8),
            np.asarray(arrays["inside_light"], np.float32),
            np.asarray(arrays["inside_height"], np.float32),
            bool(np.asarray(arrays["inside_standing"])[0]),
            bool(np.asarray(arrays["inside_seen"])[0]),
        )


def spots_around(landmarks: F32) -> F32:
    """(72, 2) places on the lips' rim and the skin around it, frame pixels."""
    centre = landmarks[48:60].mean(axis=0)
    rim = landmarks[48:60] - centre
    return np.concatenate([centre + reach * rim for reach in (1.1, 1.15, 1.2, 1.4, 1.45, 1.5)]).astype(np.float32)


def light_of(bgr: U8, offset: tuple[int, int], landmarks: F32) -> F32:
    """Mean BGR (3,) float32 around the mouth; bgr's pixel (0, 0) lies at `offset` (x, y) in the frame."""
    spots = spots_around(landmarks) - np.asarray(offset, np.float32)
    found = cv2.remap(bgr, spots[None, :, 0], spots[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found[0].astype(np.float32).mean(axis=0), np.float32)


def take_inside(bgr: U8, offset: tuple[int, int], landmarks: F32) -> Inside | None:
    """Straighten the inside of an open mouth, and continue it in the dark below what was visible; None if the face
    cannot be used."""
    axes = axes_of(landmarks)
    curves = curves_of(landmarks, axes) if axes else None
    if axes is None or curves is None:
        return None
    curves = refine(bgr, offset, axes, curves)
    s = np.linspace(0, 1, COLS, dtype=np.float32)
    x = curves.inner_left + s * (curves.inner_right - curves.inner_left)
    top = _even(np.interp(x, curves.x, curves.inner_upper)) + EDGE * axes.u
    gap = np.maximum(_even(np.interp(x, curves.x, curves.inner_lower)) - EDGE * axes.u - top, 0)
    depth = np.arange(ROWS, dtype=np.float32)[:, None] * (axes.u / SCALE)
    y = top[None] + np.minimum(depth, gap[None])
    pixels = straighten(bgr, offset, axes, x.astype(np.float32), y, cv2.INTER_CUBIC)
    light = light_of(bgr, offset, landmarks)
    seen = (gap[None] - depth > 0) & (np.minimum(s, 1 - s) > 0.15)[None]
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).astype(np.float32)
    if not seen.any():
        return None
    # the dark is taken from this mouth, if it showed any
    dark = pixels[seen & (grey <= np.percentile(grey[seen], 25))].mean(axis=0)
    if dark.mean() > 0.6 * light.mean():
        dark = _throat(float(light.mean()))
    high = (grey > np.percentile(grey[seen], 70)) & seen
    share = np.broadcast_to(depth / np.maximum(gap[None], 1), high.shape)
    # an inside of one brightness, as in a drawing, has no brighter part
    standing = bool(high.any() and share[high].mean() > 0.62)
    if standing:
        x_index = np.broadcast_to(np.arange(COLS, dtype=np.float32)[None], high.shape)
        rows = (gap[None] - depth) * (SCALE / axes.u)
        maps = x_index.copy(), rows.astype(np.float32)
        upturned = cv2.remap(pixels, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        pixels = np.asarray(upturned, np.uint8)
    known = smooth((gap[None] - depth) / (0.03 * axes.u) + 0.5)[..., None]
    mixed = dark + (pixels.astype(np.float32) - dark) * known
    return Inside(
        np.clip(mixed + 0.5, 0, 255).astype(np.uint8), light, np.asarray(gap / axes.u, np.float32), standing, True
    )


def best_inside(samples: list[tuple[U8, F32]]) -> Inside | None:
    """The inside of the sample (BGR frame, landmarks (68, 2)) that shows most and is sharp; None where none is open."""
    best: tuple[float, Inside] | None = None
    for bgr, landmarks in samples:
        opening = openness_of(landmarks)
        inside = take_inside(bgr, (0, 0), landmarks) if opening >= SEEN_OPENING else None
        if inside is None:
            continue
        # beyond 0.16 more opening shows nothing new
        score = min(opening, 0.16) * float(np.sqrt(sharpness(inside.pixels[: int(0.1 * SCALE)])) + 2.0)
        if best is None or score > best[0]:
            best = score, inside
    return None if best is None else best[1]


def draw_inside(skin: F32) -> Inside:
    """An inside for a person whose mouth was never seen open: a soft row of upper teeth over the dark, some tongue.

    skin: (3,) mean BGR around the mouth. The colours follow its lightness, so that a dim face gets dim teeth.
    """
    s = np.linspace(-1, 1, COLS, dtype=np.float32)[None, :]
    r = (np.arange(ROWS, dtype=np.float32) / SCALE)[:, None]  # face units below the upper lip
    bright = float(skin @ np.array((0.114, 0.587, 0.299), np.float32))
    throat = _throat(bright)
    enamel = np.array((0.84, 0.93, 1.0), np.float32) * (0.85 * bright + 70)
    # eight teeth, seen narrower towards the sides; each ends in a shallow arch, and so does the row
    tooth = np.arcsin(np.clip(s * 0.97, -1, 1)) * (8 / np.pi)
    within = np.abs(tooth - np.round(tooth - 0.5) - 0.5) * 2
    edge = 0.088 - 0.035 * s**2 - 0.010 * within**3
    row = smooth((edge - r) / 0.014 + 0.5) * smooth((0.86 - np.abs(s)) / 0.25)
    row = row * (1 - 0.16 * within**6) * (1 - 0.5 * np.abs(s) ** 1.5)
    colour = throat + (enamel - throat) * row[..., None]
    grain = np.random.default_rng(0).normal(0, 1.5, (ROWS, COLS, 1)).astype(np.float32)
    pixels = np.clip(cv2.GaussianBlur(colour, (0, 0), 1.2) + grain, 0, 255).astype(np.uint8)
    return Inside(pixels, skin.astype(np.float32), np.full(COLS, ROWS / SCALE, np.float32))


def _throat(bright: float) -> F32:
    """(ROWS, COLS, 3) the back of a mouth in a face of this lightness: nearly black below the teeth, then the tongue,
    dark towards the cheeks."""
    s = np.linspace(-1, 1, COLS, dtype=np.float32)[None, :]
    r = (np.arange(ROWS, dtype=np.float32) / SCALE)[:, None]
    dark = np.array((0.13, 0.11, 0.22), np.float32) * bright
    tongue = np.array((0.27, 0.24, 0.47), np.float32) * bright
    low = smooth((r - 0.085) / 0.12) * smooth((0.85 - np.abs(s)) / 0.5)
    return np.asarray(dark + (tongue - dark) * low[..., None], np.float32)


def show_inside(inside: Inside, opening: Opening, u: float, light: F32) -> F32:
    """The inside as seen through the opening: (h, w, 3) float32 BGR over the opening's box."""
    across = np.minimum(np.maximum(opening.across, 0), 1)
    column = np.asarray(across * (COLS - 1), np.float32)
    height = np.maximum(opening.depth + opening.rise, 0)
    seen = np.maximum(inside.height * u, 1.0).take(column.astype(np.intp), mode="clip")
    stretch = np.minimum(np.maximum(height / seen, 1.0), MOST_STRETCH)
    depth, rise = np.maximum(opening.depth, 0), np.maximum(opening.rise, 0)
    row = (rise if inside.standing else depth) * (SCALE / u) / stretch
    pixels = cv2.remap(inside.pixels, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gain = np.clip(light / np.maximum(inside.light, 1.0), 0.5, 1.8)
    # lips throw shade on what lies behind them, and a narrow slit lets little light in
    top = np.exp(depth / (-0.02 * u))
    floor = np.exp(rise / (-0.02 * u))
    slit = np.minimum(height / (0.07 * u), 1)
    side = 1 - np.square(np.square(2 * across - 1))
    shade = (1 - 0.35 * top) * (1 - 0.3 * floor) * (0.7 + 0.3 * slit) * (0.45 + 0.55 * side)
    return np.asarray(pixels * gain * shade[..., None], np.float32)


def fill_opening(planes: tuple[F32, F32, F32], opening: Opening, shown: F32, colour: Colour) -> None:
    """Draw the seam and the opening into moved planes (warp_field.warp), in place. shown: of show_inside."""
    x0, y0, x1, y1 = opening.box
    matrix = bgr_to_yuv(colour.matrix, colour.full_range)
    luma, *chroma = cv2.split(cv2.transform(np.minimum(shown, 255), matrix))
    lips = (1 - SEAM * opening.seam) * (1 - opening.hole)
    black, neutral = np.float32(matrix[0, 3]), np.float32(128)
    y = planes[0][y0:y1, x0:x1]
    y[:] = black + (y - black) * lips + (luma - black) * opening.hole
    lips = quarter(lips)
    for plane, new in zip(planes[1:], chroma, strict=True):
        samples = plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
        samples[:] = neutral + (samples - neutral) * lips + quarter((new - neutral) * opening.hole)


def _even(edge: F32) -> F32:
    """The edge as a cubic in its place between the corners: teeth copied along a ragged edge would come out ragged."""
    s = np.linspace(-1, 1, len(edge))
    return np.polynomial.polynomial.polyval(s, np.polynomial.polynomial.polyfit(s, edge, 3)).astype(np.float32)


def sharpness(bgr: U8) -> float:
    """Mean gradient energy, for choosing among samples."""
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return float((gx * gx + gy * gy).mean())
