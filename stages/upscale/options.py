"""Options of upscaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from raydub.errors import Code, UsageError

OUTSCALE = (0.25, 8.0)
TILE = (32, 2048)


@dataclass(frozen=True)
class UpscaleOptions:
    """model: path or catalogue name of an RRDBNet or SRVGGNetCompact; area: enlarge whole frames by the network, or
    frames by plain interpolation and faces by the network; outscale: sides of the output over sides of the input, None
    for the network's own scale (area=frame) or 1 (area=face); denoise: 1 for the model alone, below it its weights are
    mixed with those of `partner`, the network that keeps noise (SRVGGNetCompact only); strength: share of the network's
    picture, the rest is plain interpolation of the input, softer and nearer to it pixel by pixel; tile: side in input
    pixels of what a tile contributes, 0 for what suits the device; precision: auto is fp32 on a CPU and fp16 on CUDA;
    accepted: names of licences that the user has accepted, beside RAYDUB_ACCEPT_LICENSE."""

    model: str
    area: Literal["frame", "face"] = "frame"
    outscale: float | None = None
    denoise: float = 1.0
    strength: float = 1.0
    partner: str | None = None
    tile: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accepted: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises UsageError: FIELD_VALUE for a value out of range, FIELD_CONFLICT for denoise < 1 without a partner.
        The field is the manifest's."""
        if self.area not in ("frame", "face"):
            raise _wrong("upscale_area", self.area, "frame or face")
        if self.outscale is not None and not OUTSCALE[0] <= self.outscale <= OUTSCALE[1]:
            raise _wrong("outscale", self.outscale, f"a number from {OUTSCALE[0]} to {OUTSCALE[1]:g}")
        for name in ("denoise", "strength"):
            if not (math.isfinite(share := getattr(self, name)) and 0 <= share <= 1):
                raise _wrong(f"upscale_{name}", share, "a number from 0 to 1")
        if self.tile and not TILE[0] <= self.tile <= TILE[1]:
            raise _wrong("upscale_tile", self.tile, f"0, or pixels from {TILE[0]} to {TILE[1]}")
        if self.denoise < 1 and not self.partner:
            raise conflict(f"denoise={self.denoise:g} needs the weights that keep noise beside {self.model}")


def enlarged(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(width, height) `scale` times as large, to the nearest even numbers."""
    return int(size[0] * scale / 2 + 0.5) * 2, int(size[1] * scale / 2 + 0.5) * 2


def conflict(message: str) -> UsageError:
    """FIELD_CONFLICT about the denoise strength."""
    hint = "set upscale=general, or omit 'upscale_denoise'"
    return UsageError(Code.FIELD_CONFLICT, message, field="upscale_denoise", hint=hint)


def _wrong(field: str, value: object, expected: str) -> UsageError:
    return UsageError(Code.FIELD_VALUE, f"{field}={value}", field=field, hint=expected)
