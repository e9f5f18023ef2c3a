"""The upscaler as a post-processor: sizes, order, chunks, faces, weights, errors."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, DependencyError, InputError, RaydubError, UsageError
from raydub.media.frames import Frame, FrameReader
from raydub.media.info import Colour
from raydub.media.probe import probe_video
from raydub.media.yuv import from_bgr, to_bgr
from raydub.models.load import load_state
from raydub.models.upscale.load import load_upscaler
from raydub.stages.post_processor import Shown, ShownFace
from raydub.stages.upscale.face_area import face_alpha, face_box, placed, region_of, scaled
from raydub.stages.upscale.network import UpscaleNetwork
from raydub.stages.upscale.options import UpscaleOptions
from raydub.stages.upscale.upscaler import Upscaler
from tests.examples import examples
from tests.stages.test_mask import face
from tests.stages.upscale_fakes import frame, network, plain_state, random_state, same, smooth, stream, weights_file


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return weights_file(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return weights_file(tmp_path_factory.mktemp("weights"), plain_state())


def loaded(model: str, **options: object) -> Upscaler:
    made = Upscaler(UpscaleOptions(model, **options))  # type: ignore[arg-type]
    made.load("cpu")
    return made


def shown_face(x: float, y: float, height: float, gate: float = 1.0, number: int = 0) -> ShownFace:
    return ShownFace(number, face((x, y), height), gate)


def test_whole_frames(net: str) -> None:
    upscaler = loaded(net)
    source = stream(3, faces=(shown_face(30, 20, 15),), first=5)
    made = list(upscaler.map(source))
    assert [one.frame.index for one in made] == [5, 6, 7]
    assert all(one.changed for one in made)
    assert {one.frame.size for one in made} == {(256, 192)} == {upscaler.out_size((64, 48))}
    assert {one.frame.colour for one in made} == {source[0].frame.colour}
    points = made[0].faces[0]
    assert (points.face, points.gate) == (0, 1.0)
    # The centre of a pixel goes to the centre of the four times four that it becomes.
    assert np.allclose(points.landmarks, source[0].faces[0].landmarks * 4 + 1.5, atol=1e-3)
    assert made[0].frame.y.std() > 10


def test_frames_by_a_network_that_repeats_pixels_are_the_same_frames_larger(plain: str) -> None:
    source = from_bgr(smooth((80, 64)), Colour(), 3)
    (made,) = loaded(plain).map([Shown(source)])
    expected = to_bgr(source, smooth=True).repeat(4, 0).repeat(4, 1)
    assert np.abs(to_bgr(made.frame, smooth=True).astype(int) - expected).mean() < 1.5
    (back,) = loaded(plain, outscale=1.0).map([Shown(source)])
    assert np.abs(back.frame.y.astype(int) - source.y).max() <= 1
    assert np.abs(back.frame.u.astype(int) - source.u).max() <= 2


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(32, 60), st.integers(32, 60), st.floats(1.0, 8.0))
def test_any_outscale(net: str, half_width: int, half_height: int, outscale: float) -> None:
    size = (2 * half_width, 2 * half_height)
    upscaler = loaded(net, outscale=outscale)
    (made,) = upscaler.map(stream(1, size))
    assert made.frame.size == upscaler.out_size(size)
    for before, after in zip(size, made.frame.size, strict=True):
        assert after % 2 == 0
        assert abs(after - before * outscale) <= 1, "the aspect is exact to the pixel"
    assert made.frame.u.shape == (made.frame.size[1] // 2, made.frame.size[0] // 2)


@pytest.mark.parametrize(("size", "outscale"), [((64, 64), 0.5), ((1920, 1080), 5.0), ((2160, 3840), None)])
def test_results_that_nobody_can_use(net: str, size: tuple[int, int], outscale: float | None) -> None:
    with pytest.raises(InputError) as error:
        Upscaler(UpscaleOptions(net, outscale=outscale)).out_size(size)
    assert (error.value.code, error.value.field) == (Code.FIELD_VALUE, "outscale")
    assert "8192" in error.value.hint


def test_one_is_the_same_size_whatever_it_is(net: str) -> None:
    assert Upscaler(UpscaleOptions(net, outscale=1.0)).out_size((48, 32)) == (48, 32)
    assert Upscaler(UpscaleOptions("absent.pth", area="face")).out_size((48, 32)) == (48, 32)


@pytest.mark.parametrize("area", ["frame", "face"])
def test_chunks_make_no_difference(net: str, area: str) -> None:
    faces = (shown_face(30, 16, 18, gate=0.7),)
    whole = list(loaded(net, area=area, outscale=1.5, tile=32).map(stream(6, (80, 64), faces)))
    for cut in range(7):
        source = stream(6, (80, 64), faces)
        parts = [*loaded(net, area=area, outscale=1.5, tile=32).map(source[:cut])]
        parts += loaded(net, area=area, outscale=1.5, tile=32).map(source[cut:])
        assert all(same(one.frame, two.frame) for one, two in zip(whole, parts, strict=True))


def test_several_frames_in_a_batch_keep_their_order(net: str) -> None:
    """As on a GPU, where frames wait for each other."""
    alone = list(loaded(net).map(stream(7)))
    upscaler = loaded(net)
    upscaler._network = network(pixels=3 * 64 * 48)
    assert upscaler._network.at_once((64, 48)) == 3
    together = list(upscaler.map(iter(stream(7))))
    for one, two in zip(alone, together, strict=True):
        assert one.frame.index == two.frame.index
        assert np.abs(one.frame.y.astype(int) - two.frame.y).max() <= 1


def test_few_frames_are_held(net: str) -> None:
    taken = []

    def source() -> object:
        for one in stream(5):
            taken.append(one.frame.index)
            yield one

    made = loaded(net).map(source())  # type: ignore[arg-type]
    next(made)
    assert len(taken) <= 2


def test_frames_of_two_sizes(net: str) -> None:
    mixed = [*stream(2, (64, 48)), *stream(2, (48, 64), first=2)]
    made = list(loaded(net).map(mixed))
    assert [one.frame.size for one in made] == [(256, 192)] * 2 + [(192, 256)] * 2


# faces


def touched(before: Frame, after: Frame) -> np.ndarray:
    """(h, w): luma or chroma differs."""
    chroma = (before.u != after.u) | (before.v != after.v)
    return (before.y != after.y) | chroma.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize("centre", [(160.0, 90.0), (20.0, 60.0), (300.0, 230.0)])
def test_nothing_outside_the_face_is_touched(net: str, centre: tuple[float, float]) -> None:
    source = Shown(frame(1, (320, 240)), (shown_face(*centre, 60.0),))
    before = source.frame.copy()
    (made,) = loaded(net, area="face").map([source])
    changed = touched(before, made.frame)
    box = face_box(source.faces[0].landmarks, (320, 240))
    assert box is not None
    alpha = np.zeros((240, 320), np.float32)
    alpha[box[1] : box[3], box[0] : box[2]] = face_alpha(source.faces[0].landmarks, box)
    # A chroma sample looks at its 2x2 pixels and the column to the left.
    beside = np.pad(alpha, ((0, 0), (1, 0)))[:, :320]
    reached = np.maximum(alpha, beside).reshape(120, 2, 160, 2).max(axis=(1, 3)).repeat(2, 0).repeat(2, 1)
    assert made.changed
    assert not changed[reached == 0].any()
    assert changed[alpha > 0.9].mean() > 0.9
    assert changed.mean() < 0.4


def test_faces_without_a_new_mouth_and_frames_without_a_face_stay(net: str) -> None:
    source = [
        Shown(frame(0, (160, 120))),
        Shown(frame(1, (160, 120)), (shown_face(80, 50, 40, gate=0.0),)),
        Shown(frame(2, (160, 120)), (shown_face(900, 50, 40),)),
        Shown(frame(3, (160, 120)), (ShownFace(0, np.full((68, 2), np.nan, np.float32), 1.0),)),
        Shown(frame(4, (160, 120)), (shown_face(900, 50, 40),), changed=True),
    ]
    before = [one.frame.copy() for one in source]
    made = list(loaded(net, area="face").map(source))
    assert [one.changed for one in made] == [False, False, False, False, True]
    assert all(same(one, two.frame) for one, two in zip(before, made, strict=True))


def test_the_gate_fades_the_face(net: str) -> None:
    def with_gate(gate: float) -> np.ndarray:
        source = Shown(frame(1, (160, 120)), (shown_face(80, 45, 40, gate=gate),))
        return next(loaded(net, area="face").map([source])).frame.y.astype(int)

    none, half, full = (with_gate(gate) for gate in (0.0, 0.5, 1.0))
    assert np.abs(none + (full - none) * 0.5 - half).max() <= 1
    assert np.abs(full - none).max() > 10


def test_two_faces_that_overlap_both_see_the_source(net: str) -> None:
    one, two = shown_face(60, 45, 40, number=0), shown_face(90, 45, 40, number=1)
    apart = [next(loaded(net, area="face").map([Shown(frame(1, (160, 120)), (only,))])).frame for only in (one, two)]
    both = next(loaded(net, area="face").map([Shown(frame(1, (160, 120)), (one, two))])).frame
    second = face_box(two.landmarks, (160, 120))
    assert second is not None
    inside = np.zeros((120, 160), bool)
    inside[second[1] : second[3], second[0] : second[2]] = face_alpha(two.landmarks, second) == 1
    assert np.array_equal(both.y[inside], apart[1].y[inside])
    assert not np.array_equal(both.y, apart[1].y)


@settings(max_examples=examples(20), deadline=None)
@given(st.floats(1.05, 5), st.floats(50, 110), st.floats(30, 70), st.floats(-0.4, 0.4))
def test_enlarged_faces_lie_where_they_belong(plain: str, outscale: float, x: float, y: float, tilt: float) -> None:
    """With a network that adds nothing the frame is the interpolated one, to a fraction of a pixel, wherever the face's
    region begins."""
    ramp = np.stack([np.add.outer(np.arange(120.0), np.arange(160.0) * 0.7)] * 3, axis=2)
    source = from_bgr(np.rint(ramp).astype(np.uint8), Colour(full_range=True), 0)
    shown = ShownFace(0, face((x, y), 50.0, tilt), 0.0)
    (without,) = loaded(plain, area="face", outscale=outscale).map([Shown(source.copy())])
    (with_face,) = loaded(plain, area="face", outscale=outscale).map([Shown(source.copy(), (shown,))])
    difference = with_face.frame.y.astype(int) - without.frame.y
    assert np.abs(difference).max() <= 2
    assert abs(difference[difference != 0].mean()) <= 1.0 if difference.any() else True
    assert np.allclose(
        with_face.faces[0].landmarks, scaled(shown.landmarks, tuple(np.array(with_face.frame.size) / (160, 120)))
    )


def test_a_growing_frame_has_all_its_faces_drawn(net: str) -> None:
    upscaler = loaded(net, area="face", outscale=2.0)
    assert upscaler.every_face
    assert not Upscaler(UpscaleOptions(net, area="face")).every_face
    assert not Upscaler(UpscaleOptions(net, outscale=2.0)).every_face
    quiet, loud = ((shown_face(80, 45, 40, gate=gate),) for gate in (0.0, 1.0))
    made = [next(upscaler.map([Shown(frame(1, (160, 120)), faces)])).frame for faces in ((), quiet, loud)]
    assert made[0].size == (320, 240)
    assert same(made[1], made[2])
    assert not same(made[0], made[1])


@settings(max_examples=examples(60), deadline=None)
@given(st.floats(-100, 400), st.floats(-100, 400), st.floats(5, 300), st.floats(-1, 1))
def test_regions(x: float, y: float, height: float, tilt: float) -> None:
    points = face((x, y), height, tilt)
    region, box = region_of(points, (322, 242)), face_box(points, (322, 242))
    assert box is None or region is not None
    if box is None or region is None:
        return
    for inner in (box, region):
        assert not any(side % 2 for side in inner)
        assert 0 <= inner[0] < inner[2] <= 322
        assert 0 <= inner[1] < inner[3] <= 242
    assert region[0] <= box[0] and region[1] <= box[1] and region[2] >= box[2] and region[3] >= box[3]  # noqa: PT018
    whole = face_alpha(points, (0, 0, 322, 242))
    inside = whole[box[1] : box[3], box[0] : box[2]].copy()
    whole[box[1] : box[3], box[0] : box[2]] = 0
    assert not whole.any(), "no pixel outside the box shows anything"
    assert np.abs(face_alpha(points, box) - inside).max() < 1e-3


def test_the_whole_face_is_inside_and_its_edge_is_soft() -> None:
    points = face((240, 200), 150)
    alpha = face_alpha(points, (0, 0, 480, 480))
    assert all(alpha[round(float(y)), round(float(x))] > 0.1 for x, y in points)
    assert (alpha[200:300, 200:280] == 1).all()
    assert alpha[130, 240] == 1, "the forehead"
    assert max(np.abs(np.diff(alpha, axis=axis)).max() for axis in (0, 1)) < 0.2


def test_placing_without_scale_is_cutting() -> None:
    pixels = smooth((96, 64))
    assert np.array_equal(placed(pixels, (16, 32, 112, 96), (20, 40, 60, 80), (1.0, 1.0)), pixels[8:48, 4:44])


# weights, options, devices


def test_what_travels_is_small(net: str) -> None:
    upscaler = loaded(net)
    assert len(pickle.dumps(upscaler)) < 2000
    again = pickle.loads(pickle.dumps(upscaler))
    assert again.options == upscaler.options
    with pytest.raises(RuntimeError, match="before load"):
        list(again.map(stream(1)))
    again.load("cpu")
    assert same(next(again.map(stream(1))).frame, next(upscaler.map(stream(1))).frame)
    held = again._network
    again.load("cpu")
    assert again._network is held


def test_weights_are_recorded(net: str, tmp_path: Path) -> None:
    (record,) = Upscaler(UpscaleOptions(net)).weights()
    assert (record.name, len(record.sha256), record.licence) == ("net.pth", 64, "custom")
    noisy = weights_file(tmp_path, random_state(seed=1), "noisy.pth")
    both = Upscaler(UpscaleOptions(net, denoise=0.5, partner=noisy)).weights()
    assert [one.name for one in both] == ["net.pth", "noisy.pth"]
    assert Upscaler(UpscaleOptions(net, denoise=1.0, partner=noisy)).weights() == (record,)


def test_denoise_mixes_two_networks(net: str, tmp_path: Path) -> None:
    noisy = weights_file(tmp_path, random_state(seed=1), "noisy.pth")

    def with_denoise(strength: float, model: str = net) -> Frame:
        partner = {"denoise": strength, "partner": noisy} if strength < 1 else {}
        return next(loaded(model, **partner).map(stream(1))).frame

    assert same(with_denoise(0.0), with_denoise(1.0, noisy))
    assert not same(with_denoise(0.5), with_denoise(1.0))
    assert not same(with_denoise(0.5), with_denoise(0.0))


@pytest.mark.parametrize("area", ["frame", "face"])
def test_strength_mixes_the_network_with_interpolation(net: str, area: str) -> None:
    def luma(strength: float) -> np.ndarray:
        shown = Shown(frame(1, (128, 96)), (shown_face(64, 48, 30.0),))
        one = next(loaded(net, area=area, outscale=2.0, strength=strength).map([shown]))
        return one.frame.y.astype(float)

    network, half, plain = luma(1.0), luma(0.5), luma(0.0)
    assert np.abs(network - plain).max() > 8
    assert np.abs(half - (network + plain) / 2).max() <= 2, "rounding"


def refusal(options: UpscaleOptions) -> RaydubError:
    with pytest.raises(RaydubError) as error:
        Upscaler(options).weights()
    return error.value


def test_a_denoise_strength_that_there_is_not(net: str, tmp_path: Path) -> None:
    large = weights_file(tmp_path, random_state("x4"), "large.pth")
    for options in (UpscaleOptions(net, denoise=0.5), UpscaleOptions(large, denoise=0.5, partner=net)):
        error = refusal(options)
        assert (type(error), error.code, error.field) == (UsageError, Code.FIELD_CONFLICT, "upscale_denoise")
        with pytest.raises(UsageError):
            Upscaler(options).load("cpu")
    other = weights_file(tmp_path, random_state("x2"), "other.pth")
    with pytest.raises(DependencyError) as mismatch:
        Upscaler(UpscaleOptions(net, denoise=0.5, partner=other)).load("cpu")
    assert mismatch.value.code == Code.WEIGHTS_LAYOUT


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("outscale", {"outscale": 0.1}),
        ("outscale", {"outscale": 9.0}),
        ("outscale", {"outscale": float("nan")}),
        ("upscale_denoise", {"denoise": -0.1}),
        ("upscale_strength", {"strength": 1.1}),
        ("upscale_denoise", {"denoise": float("nan")}),
        ("upscale_tile", {"tile": 31}),
        ("upscale_tile", {"tile": -1}),
        ("upscale_tile", {"tile": 4096}),
        ("upscale_area", {"area": "mouth"}),
    ],
)
def test_wrong_options(field: str, options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as error:
        Upscaler(UpscaleOptions("net.pth", **options))  # type: ignore[arg-type]
    assert (error.value.code, error.value.field) == (Code.FIELD_VALUE, field)


def test_weights_that_are_none(tmp_path: Path) -> None:
    assert refusal(UpscaleOptions(str(tmp_path / "absent.pth"))).code == Code.WEIGHTS_MISSING
    state = random_state()
    broken = weights_file(tmp_path, {key: value for key, value in state.items() if key != "body.2.bias"}, "broken.pth")
    error = refusal(UpscaleOptions(broken))
    assert error.code == Code.WEIGHTS_LAYOUT
    assert "body.2.bias" in error.hint


def test_precisions_of_a_cpu(net: str) -> None:
    with pytest.raises(UsageError) as error:
        loaded(net, precision="fp16")
    assert error.value.field == "precision"


def test_bf16_is_close(net: str) -> None:
    from raydub.models.backends.base import has_bf16

    if not has_bf16():
        pytest.skip("this CPU has no bf16 instructions")
    exact, coarse = (next(loaded(net, precision=kind).map(stream(1))).frame.y.astype(int) for kind in ("fp32", "bf16"))
    assert np.abs(exact - coarse).mean() < 2


# real weights


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.media
@pytest.mark.parametrize(("noise", "strength", "better"), [(16, 1.0, 1.0), (0, 0.25, 0.5)])
def test_real_weights_beat_interpolation(media_dir: Path, noise: float, strength: float, better: float) -> None:
    """A face shrunk four times, enlarged again and compared with itself: with the noise of a poor camera, and a clean
    one with a quarter of the network's picture. The whole of it has a lower PSNR than interpolation on clean frames
    (bench/NOTES.md): these weights were trained to look sharp."""
    path = media_dir / "weights" / "realesr-general-x4v3.from_fp16.pth"
    if not path.is_file():
        pytest.skip(f"no real upscaling weights at {path}")
    with FrameReader(probe_video(str(media_dir / "video" / "webcam_en_720p30.mp4"))) as reader:
        (picture,) = reader.frames(30, 31)
    original = to_bgr(picture, (400, 120, 720, 440), smooth=True)
    small = cv2.resize(original, (80, 80), interpolation=cv2.INTER_AREA)
    grain = np.random.default_rng(0).normal(0, noise, (80, 80, 1))
    noisy = from_bgr((small + grain).clip(0, 255).astype(np.uint8), Colour(full_range=True), 0)
    (made,) = loaded(str(path), strength=strength).map([Shown(noisy)])
    ours = psnr(to_bgr(made.frame, smooth=True), original)
    theirs = psnr(cv2.resize(to_bgr(noisy, smooth=True), (320, 320), interpolation=cv2.INTER_CUBIC), original)
    print(f"noise {noise}: PSNR {strength:g} general-x4v3 {ours:.2f} dB, bicubic {theirs:.2f} dB")  # noqa: T201
    assert ours > theirs + better


@pytest.mark.media
@pytest.mark.parametrize("name", ["realesr-general-x4v3.from_fp16.pth", "realesr-animevideov3-x4.from_fp16.pth"])
def test_real_weights_tiled_are_untiled_within_one_step(media_dir: Path, name: str) -> None:
    path = media_dir / "weights" / name
    if not path.is_file():
        pytest.skip(f"no real upscaling weights at {path}")
    noise = np.random.default_rng(0).integers(0, 256, (96, 120, 3), np.uint8)
    stripes = np.where(np.mgrid[:96, :120].sum(axis=0)[:, :, None] % 3 == 0, np.uint8(255), np.uint8(0)).repeat(3, 2)
    network, spec = load_upscaler(load_state(path))
    for picture in (noise, stripes):
        whole, tiled = (UpscaleNetwork(network, spec, "cpu", core=core).enlarge([picture])[0] for core in (2048, 36))
        assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_replaced_options_are_other_upscalers(net: str) -> None:
    options = UpscaleOptions(net)
    assert Upscaler(replace(options, outscale=2.0)).out_size((64, 48)) == (128, 96)
