"""From high dynamic range (PQ of SMPTE ST 2084, HLG of ARIB STD-B67; both in ITU-R BT.2100) to SDR in BT.709.

A fixed rule, the same for every frame whatever a stream's metadata say, so that a frame does not depend on its
neighbours: light up to 1000 cd/m2 is brought to the range up to 203 cd/m2 (the diffuse white of ITU-R BT.2408) by the
curve of ITU-R BT.2390, section 5.4.1, which leaves everything up to about 90 cd/m2 as it is; brighter light than that
is white. The curve acts on the largest of R, G and B and scales all three, which keeps the hue. Colours outside BT.709
move towards grey of the same luminance until nothing is negative, then all three shrink until nothing is above white.
SDR code values are those of BT.1886 (gamma 2.4).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from raydub.arrays import F64
from raydub.media.chroma import bgr_to_yuv, coarser, finer, to_bytes, yuv_to_bgr
from raydub.media.info import Colour
from raydub.media.planes import Planes, reformatted

PQ, HLG = 16, 18
"""H.273 numbers of the transfer characteristics that are tone-mapped."""
WHITE, PEAK = 203.0, 1000.0
_NODES = 1 << 16
_STRIP = 64
"""Rows at a time, so that what is worked on stays in the processor's cache."""
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2  # the system gamma of a display of 1000 cd/m2 (BT.2100, table 5: OOTF)
_SDR_GAMMA = 2.4
_D65 = (0.3127, 0.3290)
# Chromaticities (x, y) of R, G, B by H.273 number of the primaries: BT.709, BT.2020, Display P3.
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}


def pq_to_light(code: F64) -> F64:
    """PQ code values 0..1 as cd/m2 (BT.2100, table 4: the EOTF)."""
    root = np.maximum(code, 0) ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def light_to_pq(light: F64) -> F64:
    """The inverse of pq_to_light."""
    power = (np.maximum(light, 0) / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _scene(code: F64) -> F64:
    """HLG code values 0..1 as light of the scene, 0..1 (BT.2100, table 5: inverse OETF)."""
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def compressed(light: F64) -> F64:
    """Light 0..1000 cd/m2 brought to 0..203 cd/m2 by the curve of BT.2390."""
    top = float(light_to_pq(np.array(PEAK)))
    most = float(light_to_pq(np.array(WHITE))) / top
    knee = 1.5 * most - 0.5
    code = np.clip(light_to_pq(light) / top, 0, 1)
    t = np.maximum(code - knee, 0) / (1 - knee)
    curve = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return pq_to_light(np.where(code < knee, code, curve) * top)


@lru_cache(maxsize=4)
def _to_xyz(primaries: int) -> F64:
    """(3, 3): linear R, G, B to X, Y, Z with white D65; its second row holds the weights of the luminance."""
    corners = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in _PRIMARIES[primaries]]).T
    white = np.array([_D65[0] / _D65[1], 1.0, (1 - sum(_D65)) / _D65[1]])
    return np.asarray(corners * np.linalg.solve(corners, white))


class ToneMapper:
    """Brings frames of one film to SDR (BT.709, for a display as in BT.1886), in float32 from tables. colour: what the
    film's values mean; primaries that are not known here count as BT.2020."""

    def __init__(self, colour: Colour) -> None:
        self._hlg = colour.transfer == HLG
        self._colour = colour
        primaries = colour.primaries if colour.primaries in _PRIMARIES else 9
        own, target = _to_xyz(primaries), _to_xyz(1)
        code = np.linspace(0, 1, _NODES)
        self._luminance = own[1][None, :]
        self._grey = target[1][None, :]
        self._to_709 = np.linalg.solve(target, own)
        # Tables by code value: the light, and what the curve makes of it. HLG's light is the scene's, and the curve
        # goes by the display's, 0..1000 cd/m2.
        light = _scene(code) if self._hlg else pq_to_light(code)
        shown = code * PEAK if self._hlg else light
        self._light = np.asarray(light, np.float32)
        self._gain = np.asarray(compressed(shown) / np.maximum(shown, 1e-9) / WHITE, np.float32)
        self._gain[0] = 1 / WHITE
        # From 10-bit samples to R'G'B' of 0..1, by way of the 8-bit matrices.
        depth = np.concatenate([yuv_to_bgr(colour.matrix, colour.full_range)[::-1] / 255], axis=1)
        if colour.full_range:
            depth[:, 3] += depth[:, :3] @ np.array([0, 128 - 512 * 255 / 1023, 128 - 512 * 255 / 1023])
            depth[:, :3] *= 255 / 1023
        else:
            depth[:, :3] /= 4
        self._decode = depth
        self._encode = bgr_to_yuv("bt709", False)[:, [2, 1, 0, 3]] * [255, 255, 255, 1]

    def __call__(self, picture: Any) -> Planes:
        """y (H, W), u, v (H/2, W/2) uint8 of an av.VideoFrame, BT.709 in narrow range, odd sizes cropped to even."""
        if picture.format.name != "yuv420p10le":
            picture = reformatted(picture, self._colour, "yuv420p10le")
        width, height = picture.width // 2 * 2, picture.height // 2 * 2
        half = (height // 2, width // 2)
        luma, blue, red = (
            np.frombuffer(plane, np.uint16).reshape(-1, plane.line_size // 2)[:lines, :columns]
            for plane, (lines, columns) in zip(picture.planes, ((height, width), half, half), strict=True)
        )
        y, u, v = np.empty((height, width), np.uint8), np.empty(half, np.uint8), np.empty(half, np.uint8)
        for top in range(0, height, _STRIP):
            box = (0, top, width, min(top + _STRIP, height))
            rows, halves = slice(top, box[3]), slice(top // 2, box[3] // 2)
            deep = cv2.merge([luma[rows].astype(np.float32), finer(blue, box), finer(red, box)])
            made = cv2.split(cv2.transform(self._mapped(deep), self._encode))
            y[rows] = to_bytes(np.asarray(made[0], np.float32))
            u[halves] = to_bytes(coarser(np.asarray(made[1], np.float32)))
            v[halves] = to_bytes(coarser(np.asarray(made[2], np.float32)))
        return y, u, v

    def _mapped(self, deep: Any) -> Any:
        """(h, w, 3) float32: 10-bit Y, Cb, Cr -> R'G'B' of BT.709, 0..1."""
        code = cv2.transform(deep, self._decode)
        light = _looked_up(self._light, code)
        if self._hlg:
            bright = cv2.pow(np.maximum(cv2.transform(light, self._luminance), np.float32(1e-9)), _HLG_GAMMA - 1)
            light = _scaled(light, bright * np.float32(PEAK))
            key = _brightest(light) * np.float32(1 / PEAK)
        else:
            key = _brightest(code)
        light = cv2.transform(_scaled(light, _looked_up(self._gain, key)), self._to_709)
        low, high = -_brightest(-light), _brightest(light)
        if float(low.min()) < 0 or float(high.max()) > 1:
            grey = cv2.transform(light, self._grey)
            room = np.where(low < 0, grey / np.maximum(grey - low, np.float32(1e-9)), np.float32(1))
            down = np.maximum(grey + (high - grey) * room, np.float32(1))
            light = _scaled(light, room / down) + cv2.merge([grey * (1 - room) / down] * 3)
        return cv2.pow(np.clip(light, 0, 1), 1 / _SDR_GAMMA)


def _brightest(pixels: Any) -> Any:
    red, green, blue = cv2.split(pixels)
    return cv2.max(cv2.max(red, green), blue)


def _scaled(pixels: Any, factor: Any) -> Any:
    """(h, w, 3) times (h, w)."""
    return cv2.multiply(pixels, cv2.merge([factor] * 3))


def _looked_up(table: Any, at: Any) -> Any:
    """The nearest of the table's values for 0..1; what lies outside counts as 0 or 1."""
    return np.take(table, (at * np.float32(len(table) - 1) + np.float32(0.5)).astype(np.int32), mode="clip")
