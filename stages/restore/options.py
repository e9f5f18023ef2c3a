"""Options of the restorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from raydub.errors import Code, UsageError

Area = Literal["mouth", "face"]


@dataclass(frozen=True)
class RestoreOptions:
    """model: path or catalogue name of GFPGAN or CodeFormer weights. area: what of the face is replaced, the lower face
    that lip engines draw (the shape of stages.mask) or all of it up to the forehead. strength: share of the change that
    is applied, 0 to 1. frames: "synthesised" restores only where a new mouth was drawn, as much as it shows; "all"
    every face. steady: 0 to 1, how much the two frames before and after take part, against flicker. fidelity:
    CodeFormer's w, 0 (best looks) to 1 (closest to the input). precision: auto is fp32 on a CPU, fp16 on CUDA.
    accepted: names of licences that the user has accepted. batch_size: None for the device's own.

    Raises UsageError (FIELD_VALUE) for a number out of range or an unknown word.
    """

    model: str
    area: Area = "mouth"
    strength: float = 1.0
    frames: Literal["synthesised", "all"] = "synthesised"
    steady: float = 0.0
    fidelity: float = 0.5
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accepted: tuple[str, ...] = ()
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("strength", "steady", "fidelity"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise _bad(f"restore {name} {value}", f"restore_{name}", "0 to 1")
        if self.area not in ("mouth", "face"):
            raise _bad(f"restore area {self.area!r}", "restore_area", "mouth or face")
        if self.frames not in ("synthesised", "all"):
            raise _bad(f"restore frames {self.frames!r}", "restore_frames", "synthesised or all")
        if self.batch_size is not None and self.batch_size < 1:
            raise _bad(f"batch size {self.batch_size}", "batch_size", "1 or more")


def _bad(message: str, field: str, hint: str) -> UsageError:
    return UsageError(Code.FIELD_VALUE, message, field=field, hint=hint)
