"""The upscaler: a post-processor that enlarges frames, or sharpens the faces in them, with a published network."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from raydub.arrays import U8
from raydub.errors import Code, InputError
from raydub.media.frames import Frame
from raydub.media.yuv import blend_bgr, from_bgr, to_bgr
from raydub.stages.engine import WeightsRecord
from raydub.stages.post_processor import Shown, ShownFace
from raydub.stages.upscale.face_area import face_alpha, face_box, mixed, placed, region_of, resized, scaled
from raydub.stages.upscale.options import UpscaleOptions, conflict, enlarged

if TYPE_CHECKING:
    from raydub.models.store.locate import Located
    from raydub.models.upscale.load import UpscaleSpec
    from raydub.stages.upscale.network import UpscaleNetwork

SIDES = (64, 8192)
"""Smallest and largest side of the output, in pixels; the largest is the limit of H.264."""


class Upscaler:
    """PostProcessor (see stages.post_processor). Pickles as its options, without the network.

    area=frame: every frame goes through the network and is resized to outscale times its size. area=face: frames are
    resized without a network, and faces are drawn in by it, with a soft edge. Where the frames keep their size, only
    faces with a new mouth are touched, as far as that shows (law 3); where they grow, all faces are, because a face
    that is sharp only while it speaks would be worse.
    """

    name = "upscale"
    halo = 0

    def __init__(self, options: UpscaleOptions) -> None:
        """Raises UsageError as UpscaleOptions.check does."""
        options.check()
        self.options = options
        self.every_face = options.area == "face" and options.outscale not in (None, 1.0)
        self._network: UpscaleNetwork | None = None
        self._device: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_network": None, "_device": None}

    def weights(self) -> tuple[WeightsRecord, ...]:
        """The network's record, and the partner's where it is mixed in. Reads each file once per process. Raises
        DependencyError (WEIGHTS_*, LICENCE), UsageError (FIELD_CONFLICT) for a network that has no denoise strength."""
        found = self._files()
        self._spec(found[0])
        return tuple(_record(one) for one in found)

    def load(self, device: str) -> None:
        """Load the network on "cpu" or "cuda[:n]"; again for the same device does nothing. Raises as weights(), and
        as models.backends.base.resolve for a device or a precision that is not there."""
        if self._network is not None and self._device == device:
            return
        from raydub.models.backends.base import resolve
        from raydub.models.load import load_state
        from raydub.models.upscale.load import load_upscaler
        from raydub.stages.upscale.network import UpscaleNetwork

        _, precision = resolve(device, "torch", self.options.precision)
        model, *partner = self._files()
        self._spec(model)
        other = load_state(partner[0].path) if partner else None
        network, spec = load_upscaler(
            load_state(model.path), model.name, other, self.options.denoise if partner else 1.0
        )
        self._network, self._device = UpscaleNetwork(network, spec, device, precision, self.options.tile), device

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height): outscale times as large, to the nearest even numbers. InputError (FIELD_VALUE, field
        outscale) below 64 or above 8192 pixels. Raises as weights() where the network's own scale decides."""
        scale = self.options.outscale
        if scale is None:
            scale = 1.0 if self.options.area == "face" else float(self._own_scale())
        if scale == 1.0:
            return size
        width, height = enlarged(size, scale)
        if min(width, height) < SIDES[0] or max(width, height) > SIDES[1]:
            message = f"outscale={scale:g} makes {width}x{height} pixels of {size[0]}x{size[1]}"
            hint = f"sides of {SIDES[0]} to {SIDES[1]} pixels are possible: choose another outscale"
            raise InputError(Code.FIELD_VALUE, message, field="outscale", hint=hint)
        return width, height

    def map(self, shown: Iterable[Shown]) -> Iterator[Shown]:
        """The finished frames. Raises StageError (OUT_OF_MEMORY), InputError as out_size()."""
        if self._network is None:
            raise RuntimeError("map before load")
        if self.options.area == "face":
            return (self._with_faces(one, self._network) for one in shown)
        return self._whole(shown, self._network)

    def _whole(self, shown: Iterable[Shown], network: UpscaleNetwork) -> Iterator[Shown]:
        for size, same in groupby(shown, lambda one: one.frame.size):
            held: list[Shown] = []
            for one in same:
                held.append(one)
                if len(held) >= network.at_once(size):
                    yield from self._enlarged(held, network)
                    held = []
            if held:
                yield from self._enlarged(held, network)

    def _enlarged(self, held: list[Shown], network: UpscaleNetwork) -> Iterator[Shown]:
        size = self.out_size(held[0].frame.size)
        sources = [to_bgr(one.frame, smooth=True) for one in held]
        made = network.enlarge(sources, stream=True)
        while made:  # free each picture as it is returned: they are large
            pixels, one = resized(made.pop(0), size), held.pop(0)
            pixels = mixed(pixels, sources.pop(0), self.options.strength)
            yield _grown(one, from_bgr(pixels, one.frame.colour, one.frame.index))

    def _with_faces(self, one: Shown, network: UpscaleNetwork) -> Shown:
        size, source = self.out_size(one.frame.size), one.frame
        frame = (
            source
            if size == source.size
            else from_bgr(resized(to_bgr(source, smooth=True), size), source.colour, source.index)
        )
        grown = one if frame is source else _grown(one, frame)
        scale = _scale(source, frame)
        # All pixels first: with unchanged size the faces are drawn into the frame that they are read from.
        drawn = [(face, self._face(source, face, network)) for face in one.faces if self.every_face or face.gate > 0]
        changed = grown.changed
        for face, (region, pixels) in ((face, made) for face, made in drawn if made is not None):
            landmarks = scaled(face.landmarks, scale)
            box = face_box(landmarks, size)
            if box is None:
                continue
            gate = 1.0 if self.every_face else min(1.0, face.gate)
            alpha = face_alpha(landmarks, box) * np.float32(gate)
            blend_bgr(frame, box, placed(pixels, region, box, scale), alpha, smooth=True)
            changed = True
        return replace(grown, changed=changed)

    def _face(
        self, source: Frame, face: ShownFace, network: UpscaleNetwork
    ) -> tuple[tuple[int, int, int, int], U8] | None:
        region = region_of(face.landmarks, source.size)
        if region is None:
            return None
        pixels = to_bgr(source, region, smooth=True)
        return region, mixed(network.enlarge([pixels])[0], pixels, self.options.strength)

    def _files(self) -> list[Located]:
        """The model's file and, where it is mixed in, the partner's."""
        from raydub.models.store.locate import locate

        names = [
            self.options.model,
            *([self.options.partner] if self.options.partner and self.options.denoise < 1 else []),
        ]
        return [locate(name, accepted=self.options.accepted) for name in names]

    def _own_scale(self) -> int:
        # Needed for every batch: a loaded network knows it without its file.
        return self._network.spec.scale if self._network is not None else self._spec(self._files()[0]).scale

    def _spec(self, model: Located) -> UpscaleSpec:
        spec = _checked(str(model.path), model.name, model.sha256)
        if self.options.denoise < 1 and spec.architecture != "srvgg":
            raise conflict(f"{model.name} has no denoise strength: denoise={self.options.denoise:g}")
        return spec


@functools.lru_cache(maxsize=8)
def _checked(path: str, name: str, sha256: str) -> UpscaleSpec:
    """What network is in the file; raises if it is another network. Once per process and content."""
    from raydub.models.load import load_state
    from raydub.models.upscale.load import check_upscaler

    return check_upscaler(load_state(path), name)


def _record(located: Located) -> WeightsRecord:
    return WeightsRecord(located.name, located.sha256, located.licence, located.consent)


def _scale(source: Frame, frame: Frame) -> tuple[float, float]:
    return frame.size[0] / source.size[0], frame.size[1] / source.size[1]


def _grown(one: Shown, frame: Frame) -> Shown:
    scale = _scale(one.frame, frame)
    faces = tuple(replace(face, landmarks=scaled(face.landmarks, scale)) for face in one.faces)
    return Shown(frame, faces, changed=True)
