"""High dynamic range becomes SDR by a fixed rule: against the published values, and the same from any start."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from raydub.media.frames import open_frames
from raydub.media.hdr import HLG, PQ, compressed, light_to_pq, pq_to_light
from raydub.media.info import Colour
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr

LUMINANCE = np.array([0.2627, 0.6780, 0.0593])
# ITU-R BT.2407, equation 5 of section 2 (BT.2020 to BT.709, linear), inverted here.
TO_2020 = np.linalg.inv(np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]))


def hlg_to_light(code: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """(.., 3) HLG code values 0..1 as cd/m2 on a display of 1000 cd/m2 (BT.2100, table 5: inverse OETF, then OOTF)."""
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return 1000 * np.maximum(scene @ luminance, 1e-9)[..., None] ** 0.2 * scene


def to_sdr(code: np.ndarray, transfer: int) -> np.ndarray:
    """What a ToneMapper does, without tables: (.., 3) R'G'B' of BT.2020, 0..1, as those of BT.709."""
    light = hlg_to_light(code, LUMINANCE) if transfer == HLG else pq_to_light(code)
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-9)
    light = light * (compressed(brightest) / brightest / 203) @ np.linalg.inv(TO_2020).T
    grey, low = (light @ np.array([0.2126, 0.7152, 0.0722]))[..., None], light.min(axis=-1, keepdims=True)
    light = grey + (light - grey) * np.where(low < 0, grey / np.maximum(grey - low, 1e-9), 1)
    return np.clip(light / np.maximum(light.max(axis=-1, keepdims=True), 1), 0, 1) ** (1 / 2.4)


def deep_film(
    path: Path, pictures: list[np.ndarray], transfer: int, codec: str = "ffv1", pix_fmt: str = "yuv420p10le"
) -> Path:
    """Write pictures (H, W, 3) of R'G'B' code values 0..1 as 10-bit BT.2020 with the transfer's tag."""
    kr, kb = 0.2627, 0.0593
    options = {"x265-params": "log-level=none:keyint=6:bframes=2"} if codec == "libx265" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, transfer, 1
        for number, code in enumerate(pictures):
            red, green, blue = (code[..., channel] for channel in range(3))
            luma = kr * red + (1 - kr - kb) * green + kb * blue
            cb, cr = (blue - luma)[::2, ::2] / (2 * (1 - kb)), (red - luma)[::2, ::2] / (2 * (1 - kr))
            frame = av.VideoFrame(stream.width, stream.height, "yuv420p10le")
            for plane, values in zip(frame.planes, (64 + 876 * luma, 512 + 896 * cb, 512 + 896 * cr), strict=True):
                rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                rows[:, : values.shape[1]] = np.rint(values)
                plane.update(rows.tobytes())
            frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, 9, transfer, 1
            if pix_fmt != "yuv420p10le":
                frame = frame.reformat(format=pix_fmt)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def patches(colours: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> each value as a patch of 16x16 pixels."""
    return np.kron(colours, np.ones((16, 16, 1)))


def read(path: Path) -> list:
    with open_frames(probe_video(str(path))) as reader:
        return list(reader.frames(0, reader.info.n_frames))


def test_published_values() -> None:
    """BT.2100 and BT.2408: PQ of 0, 100, 203, 1000, 10000 cd/m2; HLG of its reference white (75 %) and of its peak."""
    light = np.array([0.0, 100.0, 203.0, 1000.0, 10000.0])
    assert np.allclose(light_to_pq(light), [0.0, 0.5081, 0.5807, 0.7518, 1.0], atol=5e-5)
    assert np.allclose(pq_to_light(light_to_pq(light)), light, atol=1e-6)
    greys = hlg_to_light(np.repeat(np.array([[0.0], [0.5], [0.75], [1.0]]), 3, axis=1), LUMINANCE)
    assert np.allclose(greys[:, 1], [0.0, 1000 * (1 / 12) ** 1.2, 203.0, 1000.0], atol=0.5)


def test_the_curve_keeps_what_is_dark_and_ends_at_white() -> None:
    dark = np.linspace(0, 88, 50)
    assert np.allclose(compressed(dark), dark, atol=1e-6)
    bright = compressed(np.linspace(0, 5000, 500))
    assert (np.diff(bright) >= -1e-9).all()
    assert np.allclose(compressed(np.array([1000.0, 4000.0])), 203.0)
    # BT.2390, 5.4.1, by hand for 203 cd/m2: E1 = maxLum = 0.7724, KS = 0.6586, T = 1/3, E2 = 0.7387.
    assert abs(light_to_pq(compressed(np.array(203.0))) / light_to_pq(np.array(1000.0)) - 0.7387) < 5e-4


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_sdr_in_an_hdr_film_comes_back(tmp_path: Path, transfer: int) -> None:
    """Colours of BT.709 below the knee, taken to BT.2020 and PQ or HLG, are the same colours afterwards."""
    rng = np.random.default_rng(5)
    sdr = rng.uniform(0.15, 0.68, (8, 12, 3))
    light = 203 * sdr**2.4 @ TO_2020.T
    if transfer == PQ:
        code = light_to_pq(light)
    else:
        bright = (light @ LUMINANCE / 1000)[..., None]
        scene = light / 1000 * bright ** (1 / 1.2 - 1)
        bent = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        code = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bent)
    assert np.abs(to_sdr(code, transfer) - sdr).max() < 1e-3
    path = deep_film(tmp_path / "a.mkv", [patches(code)] * 2, transfer)
    info = probe_video(str(path))
    assert info.hdr == Colour(matrix="bt2020", primaries=9, transfer=transfer)
    assert info.colour == Colour(matrix="bt709", primaries=1, transfer=1)
    frame = read(path)[1]
    assert frame.colour == info.colour
    seen = to_bgr(frame)[8::16, 8::16, ::-1] / 255
    assert np.abs(seen - sdr).mean() < 0.7 / 255
    assert np.abs(seen - sdr).max() < 3 / 255


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_greys_follow_the_rule(tmp_path: Path, transfer: int) -> None:
    """From black over white to light that is brighter than any screen: without colour, and never darker again."""
    code = np.repeat(np.linspace(0, 1, 24)[None, :, None], 3, axis=2)
    frame = read(deep_film(tmp_path / "a.mkv", [patches(np.repeat(code, 2, axis=0))], transfer))[0]
    luma = frame.y[8, 8::16].astype(int)
    wanted = 16 + 219 * to_sdr(code[0], transfer)[:, 1]
    assert np.abs(luma - wanted).max() <= 0.7
    assert (np.diff(luma) >= 0).all()
    assert (luma[0], luma[-1]) == (16, 235)
    assert np.abs(frame.u.astype(int) - 128).max() <= 1
    assert np.abs(frame.v.astype(int) - 128).max() <= 1


def test_colours_outside_bt709_keep_their_hue() -> None:
    """The primaries of BT.2020 at 60 cd/m2 and at 4000: inside 0..1, with the same channel on top and at the bottom."""
    for light in (60.0, 4000.0):
        code = light_to_pq(np.eye(3) * light)
        made = to_sdr(code, PQ)
        assert np.isfinite(made).all()
        assert ((made >= 0) & (made <= 1)).all()
        assert (made.argmax(axis=1) == [0, 1, 2]).all()


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "transfer"),
    [
        ("a.mp4", "libx265", "yuv420p10le", PQ),
        ("a.mov", "prores_ks", "yuv422p10le", HLG),
        ("a.mkv", "libx264", "yuv420p10le", HLG),
        ("b.mkv", "libx265", "yuv420p", HLG),
    ],
)
def test_mapped_frames_do_not_depend_on_where_reading_starts(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, transfer: int
) -> None:
    rng = np.random.default_rng(2)
    steps = [patches(np.roll(rng.uniform(0.1, 0.8, (6, 10, 3)), n, axis=1)) for n in range(3)]
    path = deep_film(tmp_path / name, [steps[n % 3] for n in range(20)], transfer, codec, pix_fmt)
    info = probe_video(str(path))
    assert info.hdr is not None
    whole = read(path)
    for start, stop in [(19, 20), (7, 13), (1, 2)]:
        with open_frames(info) as fresh:
            again = list(fresh.frames(start, stop))
        for one, two in zip(again, whole[start:stop], strict=True):
            assert all(np.array_equal(a, b) for a, b in zip((one.y, one.u, one.v), (two.y, two.u, two.v), strict=True))


def test_ten_bits_of_sdr_become_eight_within_one(tmp_path: Path) -> None:
    """Ordered dither by place: never a level off, right in the mean, and the same each time."""
    ramp = np.linspace(0, 1, 160)[None, :].repeat(64, axis=0)[..., None].repeat(3, axis=2)
    path = deep_film(tmp_path / "a.mkv", [ramp] * 3, 1)
    info = probe_video(str(path))
    assert info.hdr is None
    frames = read(path)
    deep = np.rint(64 + 876 * ramp[..., 0]) / 4
    assert np.abs(frames[0].y - deep).max() < 1
    assert abs((frames[0].y - deep).mean()) < 0.1
    assert np.array_equal(frames[0].y, frames[2].y)
