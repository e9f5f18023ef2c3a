"""The Wav2Lip engine: the network generates the face, which is pasted over the frame's own."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, U8
from raydub.errors import Code, UsageError
from raydub.media.frames import Frame
from raydub.media.yuv import to_bgr
from raydub.stages.crop import CROP, even_box, pixel_box
from raydub.stages.engine import Arrays, DrawItem, Patch, SourceSampler, Speech, WeightsRecord, reach_of
from raydub.stages.mask import mouth_alpha
from raydub.stages.types import FaceItems

if TYPE_CHECKING:
    from raydub.models.store.locate import Located
    from raydub.stages.batching import FixedBatches

# Measured with bench/network.py: larger batches are not faster on a CPU and add padding to the last batch of a chunk.
BATCH_CPU = 4
# By reasoning, until bench/gpu/networks.py has run on a card. A chunk of N rows in batches of B costs (N + B / 2) t,
# with the padding of its last batch, and N / B times f, what a call takes however few its rows. An H100 in fp16:
# t = 35 us (8 GFLOP, 45 MB), f = 0.5 ms (150 kernels in a CUDA graph). The best B is the root of 2 N f / t, 93 for the
# 300 rows of ten seconds; from 64 to 128 the sum changes by 1 %, and smaller batches leave less of the first and the
# last copy uncovered.
BATCH_CUDA = 64


@dataclass(frozen=True)
class Wav2LipOptions:
    """checkpoint: path of the weights (.pth or .safetensors, any width), or their name in the catalogue; paste:
    feathered "mask" or the published "box"; mel_offset_frames: see models.mel.mel_windows; batch_size: None for the
    device's own; precision, backend: see models.backends.base; accepted: names of licences that the user has accepted,
    beside RAYDUB_ACCEPT_LICENSE."""

    checkpoint: str
    paste: Literal["mask", "box"] = "mask"
    mel_offset_frames: int = 0
    batch_size: int | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    backend: Literal["auto", "torch", "openvino"] = "auto"
    accepted: tuple[str, ...] = field(default=())


class Wav2LipEngine:
    """LipEngine (see stages.engine) for any Wav2Lip checkpoint. Pickles as its options, without the network."""

    name = "wav2lip"
    needs_crops = True

    def __init__(self, options: Wav2LipOptions) -> None:
        if options.batch_size is not None and options.batch_size < 1:
            raise UsageError(Code.FIELD_VALUE, f"batch size {options.batch_size}", field="batch_size", hint="1 or more")
        self.options = options
        self._batches: FixedBatches | None = None
        self._device: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"options": self.options, "_batches": None, "_device": None}

    def weights(self) -> tuple[WeightsRecord, ...]:
        """The checkpoint's record. Reads it once per process; an absent file of the catalogue is downloaded first.
        Raises DependencyError: WEIGHTS_MISSING, WEIGHTS_REFUSED, WEIGHTS_LAYOUT, LICENCE for a non-commercial file
        whose licence was not accepted, and what downloading raises (see models.store.locate)."""
        found = self._located()
        _check_network(str(found.path), found.sha256)
        return (WeightsRecord(found.name, found.sha256, found.licence, found.consent),)

    def _located(self) -> Located:
        from raydub.models.store.locate import locate

        return locate(self.options.checkpoint, accepted=self.options.accepted)

    def load(self, device: str) -> None:
        """Load the network on "cpu" or "cuda[:n]"; the second call for the same device does nothing. Raises as
        weights(), and as models.backends.base.make_backend."""
        if self._batches is not None and self._device == device:
            return
        from raydub.models.backends.base import make_backend
        from raydub.models.load import load_arrays
        from raydub.models.wav2lip_table import check_layout
        from raydub.stages.batching import FixedBatches

        found = self._located()
        state = load_arrays(found.path)
        check_layout(state, found.name)
        backend = make_backend(state, device, self.options.backend, self.options.precision)
        size = self.options.batch_size or (BATCH_CUDA if device.startswith("cuda") else BATCH_CPU)

        def run(crops: U8, sounds: F32) -> U8:
            # Truncated, not rounded, as in the published code.
            return (backend.run(crops, sounds) * np.float32(255.0)).astype(np.uint8)

        self._batches, self._device = FixedBatches(backend.conveyor or run, size, stage="lipsync"), device

    def prepare(self, video: SourceSampler) -> dict[str, npt.NDArray[np.generic]]:
        """Nothing: the crops are enough."""
        return {}

    def hears(self, rate: Fraction) -> tuple[int, int]:
        """See LipEngine: the published window, moved by mel_offset_frames."""
        from raydub.models.mel import WINDOW

        return reach_of(0, WINDOW, self.options.mel_offset_frames, rate)

    def infer(self, items: FaceItems, speech: Speech) -> dict[str, npt.NDArray[np.generic]]:
        """{"patches": (M, 96, 96, 3) uint8 BGR}: the new faces. Raises StageError (OUT_OF_MEMORY)."""
        if self._batches is None:
            raise RuntimeError("infer before load")
        if len(items) == 0:
            return {"patches": np.zeros((0, CROP, CROP, 3), np.uint8)}
        from raydub.models.mel import mel_windows

        sounds = mel_windows(speech.mel, items.frame, speech.rate, self.options.mel_offset_frames)
        return {"patches": self._batches.map(items.crops, sounds)}

    def draw(self, frame: Frame, item: DrawItem, mouth: Arrays, source: Arrays) -> Patch | None:
        """The new face, resized (bilinear) to the item's box. paste=box: alpha is 1 in the whole-pixel box, as
        published; paste=mask: only the lower face shows. None when the box lies outside the frame."""
        box = pixel_box(item.box, frame.size)
        if box is None:
            return None
        x0, y0, x1, y1 = box
        region = even_box(box)
        alpha = mouth_alpha(item.landmarks, region, self.options.paste, box)
        if not alpha.any():
            return None
        patch = np.ascontiguousarray(mouth["patches"], np.uint8)
        bgr = to_bgr(frame, region)
        inside = slice(y0 - region[1], y1 - region[1]), slice(x0 - region[0], x1 - region[0])
        bgr[inside] = cv2.resize(patch, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        return Patch(region, bgr, alpha)


@functools.lru_cache(maxsize=8)
def _check_network(path: str, digest: str) -> float:
    """Width of the network in the file; raises if it is another network. Once per process and content."""
    from raydub.models.load import load_arrays
    from raydub.models.wav2lip_table import check_layout

    return check_layout(load_arrays(path), Path(path).name)
