"""A visible label: drawn once a job as a picture with opacities, blended into a corner of every frame.

The frames are changed inside the label's box only, by whole numbers: a frame's pixels depend on nothing but the frame
and the picture. Letters are white on a dark box, because a label must be read on any picture.
"""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from raydub.arrays import U8
from raydub.errors import Code, DependencyError, InputError, RaydubError
from raydub.manifests.options import Options
from raydub.regular import read_regular

if TYPE_CHECKING:
    from raydub.media.frames import Frame
    from raydub.stages.engine import Arrays

_BOX = 0.55
"""Opacity of the box."""
_LEAST = 8
"""Pixels of the smallest letters that can be read."""
_MARGIN, _INSIDE = 0.6, 0.4
"""Of the letters' size: between the box and the frame's edges, and inside the box."""
_MISSING = "\U0010ffff"
"""No font has a glyph of this; it shows what a font draws in place of one."""
_MAX_FONT = 64 << 20


def check_label(options: Options) -> None:
    """Find out whether the label of a job can be drawn, before anything runs. A font that is not here is not checked.
    Raises DependencyError DEPENDENCY_MISSING, InputError FIELD_VALUE."""
    if options.label is None:
        return
    _need_pillow()
    if options.label_font is None or os.path.isfile(options.label_font):
        _drawn(options.label, _font(options.label_font, 32))


def draw_label(options: Options, size: tuple[int, int]) -> Arrays | None:
    """The label of a job for frames of `size` (width, height), None for none: `opacity` (h, w) uint8, `grey` (h, w)
    uint8 of full range, `place` (2,) int64: x and y of its left upper corner. All even.

    Raises DependencyError DEPENDENCY_MISSING without Pillow; InputError: FIELD_VALUE for text that the font has no
    glyphs for or that does not fit into the frame, INPUT_UNREADABLE for the font.
    """
    if options.label is None:
        return None
    _need_pillow()
    width, height = size
    pixels = max(_LEAST, round(options.label_size * min(size)))
    ink = _drawn(options.label, _font(options.label_font, pixels))
    inside, margin = round(_INSIDE * pixels), round(_MARGIN * pixels) // 2 * 2
    rows, columns = (-(-(side + 2 * inside) // 2) * 2 for side in ink.shape)
    if columns + 2 * margin > width or rows + 2 * margin > height:
        needed = f"{columns + 2 * margin}x{rows + 2 * margin}"
        message = f"the label {options.label!r} needs {needed} pixels of a frame of {width}x{height}"
        raise InputError(Code.FIELD_VALUE, message, hint="use a shorter text or a smaller label_size", field="label")
    shown = np.zeros((rows, columns))
    top, left = (rows - ink.shape[0]) // 2, (columns - ink.shape[1]) // 2
    shown[top : top + ink.shape[0], left : left + ink.shape[1]] = ink / 255
    opacity = 1 - (1 - shown) * (1 - _BOX)
    x = margin if options.label_corner.endswith("left") else (width - columns - margin) // 2 * 2
    y = margin if options.label_corner.startswith("top") else (height - rows - margin) // 2 * 2
    return {
        "opacity": np.rint(opacity * 255).astype(np.uint8),
        "grey": np.rint(shown / opacity * 255).astype(np.uint8),
        "place": np.array([x, y], np.int64),
    }


def digest_of(label: Arrays) -> str:
    """SHA-256 of a label, hex: it decides the pixels in its box."""
    digest = hashlib.sha256()
    for name in ("opacity", "grey", "place"):
        digest.update(repr(label[name].shape).encode() + label[name].tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Label:
    """A label that draw_label() made."""

    opacity: U8
    grey: U8
    x: int
    y: int

    @staticmethod
    def of(arrays: Arrays) -> Label:
        """The label of these arrays."""
        x, y = (int(value) for value in arrays["place"])
        return Label(np.asarray(arrays["opacity"], np.uint8), np.asarray(arrays["grey"], np.uint8), x, y)

    def on(self, frame: Frame) -> Frame:
        """The frame with the label, in planes of its own."""
        rows, columns = self.opacity.shape
        grey = self.grey.astype(np.uint16)
        luma = grey if frame.colour.full_range else 16 + (grey * 219 + 127) // 255
        coarse = self.opacity.reshape(rows // 2, 2, columns // 2, 2).astype(np.uint16).sum((1, 3))
        half = (coarse + 2) // 4
        y, u, v = frame.y.copy(), frame.u.copy(), frame.v.copy()
        _blend(y[self.y : self.y + rows, self.x : self.x + columns], self.opacity.astype(np.uint16), luma)
        for plane in (u, v):
            part = plane[self.y // 2 : (self.y + rows) // 2, self.x // 2 : (self.x + columns) // 2]
            _blend(part, half, np.full_like(half, 128))
        return replace(frame, y=y, u=u, v=v)


def _blend(part: U8, opacity: Any, wanted: Any) -> None:
    # At most 255 * 255 + 127, which 16 bits hold.
    part[:] = (part.astype(np.uint16) * (255 - opacity) + wanted.astype(np.uint16) * opacity + 127) // 255


def _need_pillow() -> None:
    try:
        import PIL.ImageFont  # noqa: F401
    except ImportError as error:
        hint = "pip install 'raydub[label]'"
        raise DependencyError(
            Code.DEPENDENCY_MISSING, f"labels are drawn with Pillow: {error}", hint=hint, field="label"
        ) from error


def _font(path: str | None, pixels: int) -> Any:
    from PIL import ImageFont, features

    if path is None:
        return ImageFont.load_default(pixels)
    try:
        data = read_regular(path, _MAX_FONT + 1)
        if len(data) > _MAX_FONT:
            raise OSError(f"it has more than {_MAX_FONT >> 20} MiB")
        shaped = ImageFont.Layout.RAQM if features.check("raqm") else ImageFont.Layout.BASIC
        return ImageFont.truetype(io.BytesIO(data), pixels, layout_engine=shaped)
    except (OSError, ValueError) as error:
        message = f"the font {path} cannot be read: {error}"
        hint = "give a font file: .ttf, .otf or .ttc"
        raise InputError(Code.INPUT_UNREADABLE, message, hint=hint, field="label_font") from error


def _drawn(text: str, font: Any) -> U8:
    """(h, w) uint8: how much of each pixel the letters cover, cut to them."""
    text = unicodedata.normalize("NFC", text)
    if not _shapes(font):  # without shaping, marks of direction and of joining would be drawn as absent letters
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")
    try:
        drawn = _ink(text, font)
    except OSError as error:  # of a damaged letter
        raise _unfit(text, f"the font is damaged: {error}") from error
    if not drawn.any():
        raise _unfit(text, "nothing of it can be seen")
    return drawn


def _ink(text: str, font: Any) -> U8:
    from PIL import Image, ImageDraw

    nothing = _bitmap(font, _MISSING)
    absent = [c for c in dict.fromkeys(text) if _has_ink(c) and _bitmap(font, c) == nothing]
    if absent:
        raise _unfit(text, f"the font has no glyph for {' '.join(map(_named, absent[:10]))}")
    turned = [c for c in text if unicodedata.bidirectional(c) in ("R", "AL", "AN") or unicodedata.category(c) == "Mn"]
    if turned and not _shapes(font):
        raise _unfit(text, "this installation of Pillow cannot shape its script (libraqm is missing)")
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(picture).text((-left, -top), text, font=font, fill=255)
    drawn: U8 = np.asarray(picture, np.uint8).copy()
    return drawn


def _bitmap(font: Any, character: str) -> tuple[Any, bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _shapes(font: Any) -> bool:
    from PIL import ImageFont

    return bool(font.layout_engine == ImageFont.Layout.RAQM)


def _has_ink(character: str) -> bool:
    return unicodedata.category(character) not in ("Zs", "Cf", "Mn", "Me")


def _named(character: str) -> str:
    return f"{character!r} (U+{ord(character):04X})"


def _unfit(text: str, why: str) -> RaydubError:
    hint = "set label_font to a font file that has these letters, such as one of Noto, or use another text"
    return InputError(Code.FIELD_VALUE, f"the label {text!r} cannot be drawn: {why}", hint=hint, field="label")
