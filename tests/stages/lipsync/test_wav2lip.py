"""The Wav2Lip engine: law 8 in the frame, law 2 for its batches, weights and their errors."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from raydub.errors import Code, DependencyError, UsageError
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.media.yuv import blend_bgr, to_bgr
from raydub.models.load import sha256_of
from raydub.models.mel import mel_windows
from raydub.models.wav2lip import Wav2Lip
from raydub.stages.crop import face_crop
from raydub.stages.engine import DrawItem, Speech
from raydub.stages.lipsync.select import make_engine
from raydub.stages.lipsync.wav2lip import Wav2LipEngine, Wav2LipOptions
from raydub.stages.types import FaceItems
from tests.models.reference import lively, published_floats, published_paste

LICENCE = "wav2lip-noncommercial"
BOX = np.array([61, 33, 172, 178], np.float32)  # odd sides on purpose
SIZE = (240, 200)


def picture(seed: int = 0) -> Frame:
    """A smooth random picture of 240 x 200."""
    random = np.random.default_rng(seed)

    def plane(width: int, height: int) -> np.ndarray:
        return cv2.resize(
            random.integers(30, 226, (7, 9), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
        )

    colour = Colour(matrix="bt709", full_range=False)
    return Frame(0, plane(240, 200), plane(120, 100), plane(120, 100), colour)


def face() -> np.ndarray:
    """68 landmarks of a plain frontal face inside BOX."""
    points = np.zeros((68, 2), np.float32)
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([116 + 50 * np.cos(angle), 105 + 65 * np.sin(angle)], 1)
    points[17:27] = np.stack([np.linspace(75, 157, 10), np.full(10, 75)], 1)
    points[27:31] = np.stack([np.full(4, 116), np.linspace(88, 115, 4)], 1)
    points[31:36] = np.stack([np.linspace(106, 126, 5), np.full(5, 120)], 1)
    points[36:48] = np.stack([np.linspace(80, 152, 12), np.full(12, 90)], 1)
    turn = np.linspace(np.pi, -np.pi, 20, endpoint=False)
    points[48:68] = np.stack([116 + 20 * np.cos(turn), 142 - 8 * np.sin(turn)], 1)
    return points


def items_of(count: int) -> FaceItems:
    frames = np.arange(100, 100 + count, dtype=np.int32)
    crops = np.stack([face_crop(picture(seed), BOX) for seed in range(count)])
    return FaceItems(
        frames,
        frames.copy(),
        np.zeros(count, np.int32),
        np.tile(BOX, (count, 1)),
        np.tile(face(), (count, 1, 1)),
        np.ones(count, np.float32),
        crops,
    )


def rows_of(items: FaceItems, start: int, stop: int) -> FaceItems:
    part = slice(start, stop)
    names = ("frame", "source", "face", "box", "landmarks", "gate", "crops")
    return FaceItems(*(getattr(items, name)[part] for name in names))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save({"state_dict": lively(Wav2Lip(0.125)).state_dict(), "global_step": 1}, path)
    return path


@pytest.fixture(scope="module")
def speech() -> Speech:
    mel = np.random.default_rng(4).uniform(-4, 4, (80, 900)).astype(np.float32)
    return Speech(mel, Fraction(30000, 1001), 300)


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Wav2LipEngine]:
    made = Wav2LipEngine(Wav2LipOptions(str(checkpoint), paste="box", batch_size=4, backend="torch"))
    made.load("cpu")
    return made


def drawn(engine: Wav2LipEngine, frame: Frame, items: FaceItems, speech: Speech, row: int = 0) -> object:
    mouths = engine.infer(items, speech)
    item = DrawItem(int(items.frame[row]), row, 0, items.box[row], items.landmarks[row])
    return engine.draw(frame, item, {"patches": mouths["patches"][row]}, {})


def test_law_8_pasted_frame_equals_the_published_one(engine: Wav2LipEngine, checkpoint: Path, speech: Speech) -> None:
    frame, items = picture(), items_of(3)
    patch = drawn(engine, frame, items, speech)
    image = to_bgr(frame)
    x0, y0, x1, y1 = (int(side) for side in BOX)
    crop = cv2.resize(image[y0:y1, x0:x1], (96, 96))
    assert np.array_equal(items.crops[0], crop)
    window = np.stack([speech.mel[:, int(80.0 * 100 / (30000 / 1001)) :][:, :16]])
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    expected = published_paste(image, (x0, y0, x1, y1), published_floats(state, crop[None], window)[0])
    found = image.copy()
    left, top, right, bottom = patch.box  # type: ignore[attr-defined]
    shown = patch.alpha[..., None]  # type: ignore[attr-defined]
    region = found[top:bottom, left:right]
    region[:] = np.where(shown == 1, patch.bgr, region)  # type: ignore[attr-defined]
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    changed = (expected != image).any(axis=2)
    assert changed[y0:y1, x0:x1].mean() > 0.9
    assert set(np.unique(shown)) <= {0.0, 1.0}
    assert shown.sum() == (x1 - x0) * (y1 - y0)


def test_law_2_rows_do_not_depend_on_the_chunk(engine: Wav2LipEngine, speech: Speech) -> None:
    items = items_of(11)
    whole = engine.infer(items, speech)["patches"]
    assert whole.shape == (11, 96, 96, 3)
    assert whole.dtype == np.uint8
    for length in (1, 2, 3, 5, 10):
        parts = [rows_of(items, at, min(at + length, 11)) for at in range(0, 11, length)]
        joined = np.concatenate([engine.infer(part, speech)["patches"] for part in parts])
        assert np.array_equal(joined, whole), length


def test_no_items(engine: Wav2LipEngine, speech: Speech) -> None:
    assert engine.infer(items_of(1).__class__(*_empty(items_of(1))), speech)["patches"].shape == (0, 96, 96, 3)
    assert engine.prepare(None) == {}  # type: ignore[arg-type]


def _empty(items: FaceItems) -> list[np.ndarray]:
    return [getattr(items, name)[:0] for name in ("frame", "source", "face", "box", "landmarks", "gate", "crops")]


def test_mel_offset_is_the_sound_of_another_frame(checkpoint: Path, speech: Speech, engine: Wav2LipEngine) -> None:
    items = items_of(4)
    early = Wav2LipEngine(replace(engine.options, mel_offset_frames=-1))
    early.load("cpu")
    moved = replace(items, frame=items.frame - 1)
    assert np.array_equal(early.infer(items, speech)["patches"], engine.infer(moved, speech)["patches"])
    first, second = (mel_windows(speech.mel, frames, speech.rate) for frames in (items.frame, moved.frame))
    assert not np.array_equal(first, second)


def test_mask_shows_the_lower_face_only(checkpoint: Path, speech: Speech) -> None:
    masked = Wav2LipEngine(Wav2LipOptions(str(checkpoint), batch_size=2, backend="torch"))
    masked.load("cpu")
    frame = picture()
    before = frame.copy()
    patch = drawn(masked, frame, items_of(1), speech)
    assert patch is not None
    blend_bgr(frame, patch.box, patch.bgr, patch.alpha)  # type: ignore[attr-defined]
    changed = frame.y != before.y
    assert changed[142, 116]
    assert not changed[:110].any(), "above the nose's base nothing changes"
    assert not changed[:, : int(BOX[0])].any()
    assert not changed[:, int(BOX[2]) :].any()


@pytest.mark.parametrize("box", [[-50, -50, -3, -3], [300, 10, 400, 90], [10, 10, 10, 50], [np.nan, 0, 5, 5]])
def test_boxes_outside_the_frame_draw_nothing(engine: Wav2LipEngine, box: list[float]) -> None:
    item = DrawItem(0, 0, 0, np.array(box, np.float32), face())
    assert engine.draw(picture(), item, {"patches": np.zeros((96, 96, 3), np.uint8)}, {}) is None


def test_boxes_at_the_edge_are_cut(engine: Wav2LipEngine) -> None:
    item = DrawItem(0, 0, 0, np.array([201, 151, 260, 230], np.float32), face())
    patch = engine.draw(picture(), item, {"patches": np.full((96, 96, 3), 7, np.uint8)}, {})
    assert patch is not None
    assert patch.box == (200, 150, 240, 200)
    assert (patch.bgr[patch.alpha == 1] == 7).all()


def test_pickles_without_the_network(engine: Wav2LipEngine, speech: Speech) -> None:
    copy = pickle.loads(pickle.dumps(engine))
    assert len(pickle.dumps(engine)) < 2000
    assert copy.options == engine.options
    with pytest.raises(RuntimeError, match="load"):
        copy.infer(items_of(1), speech)


def test_weights_record(engine: Wav2LipEngine, checkpoint: Path) -> None:
    (record,) = engine.weights()
    assert (record.name, record.sha256, record.licence) == ("small.pth", sha256_of(checkpoint), "custom")


def test_a_checkpoint_is_found_by_its_name(
    checkpoint: Path, tmp_path: Path, speech: Speech, engine: Wav2LipEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of the catalogue, or of a file that was imported."""
    from raydub.models.store.importing import import_file

    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path / "weights"))
    entry, path = import_file(checkpoint, to_name="mine")
    named = Wav2LipEngine(Wav2LipOptions(checkpoint="mine", backend="torch"))
    [record] = named.weights()
    assert (record.name, record.sha256, record.licence, record.consent) == (path.name, entry.sha256, "custom", "")
    named.load("cpu")
    items = items_of(2)
    made = named.infer(items, speech)["patches"]
    assert np.array_equal(made, engine.infer(items, speech)["patches"])
    monkeypatch.setenv("RAYDUB_OFFLINE", "1")
    monkeypatch.setenv("RAYDUB_ACCEPT_LICENSE", "wav2lip-noncommercial")
    for name, code in (("minee", Code.WEIGHTS_MISSING), ("wav2lip", None)):
        with pytest.raises(DependencyError) as missing:
            Wav2LipEngine(Wav2LipOptions(checkpoint=name)).weights()
        assert code is None or missing.value.code == code


def test_weights_of_another_network_and_none(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    for name, code in [("other.pth", Code.WEIGHTS_LAYOUT), ("none.pth", Code.WEIGHTS_MISSING)]:
        other = make_engine("auto", tmp_path / name)
        for call in (other.weights, lambda engine=other: engine.load("cpu")):
            with pytest.raises(DependencyError) as error:
                call()
            assert error.value.code == code


def test_published_files_need_consent(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydub.models import catalogue

    known = catalogue.Published("wav2lip.pth", LICENCE, True)
    monkeypatch.setitem(catalogue.PUBLISHED, sha256_of(checkpoint), known)
    monkeypatch.delenv(catalogue.ACCEPT_VARIABLE, raising=False)
    for call in ("weights", "load"):
        with pytest.raises(DependencyError) as error:
            getattr(make_engine("wav2lip", checkpoint), call)(*(["cpu"] if call == "load" else []))
        assert (error.value.code, error.value.exit_code) == (Code.LICENCE, 3)
    accepted = make_engine("wav2lip", checkpoint, accepted=[LICENCE])
    assert accepted.weights()[0].licence == LICENCE


def test_choice_of_engine(checkpoint: Path) -> None:
    assert make_engine().name == make_engine("own").name == "own"
    assert make_engine("warp").name == "warp"
    assert make_engine("auto", checkpoint).name == make_engine("wav2lip", str(checkpoint)).name == "wav2lip"
    chosen = make_engine("wav2lip", checkpoint, paste="box", mel_offset_frames=-1, precision="bf16", batch_size=3)
    assert chosen.options == Wav2LipOptions(str(checkpoint), "box", -1, 3, "bf16")  # type: ignore[attr-defined]
    for arguments, code in [(("wav2lip",), Code.FIELD_CONFLICT), (("wav2lips", "x"), Code.FIELD_VALUE)]:
        with pytest.raises(UsageError) as error:
            make_engine(*arguments)
        assert error.value.code == code
    with pytest.raises(UsageError):
        make_engine("wav2lip", checkpoint, batch_size=0)


def test_selecting_imports_no_torch() -> None:
    import subprocess
    import sys

    modules = "raydub.stages.lipsync.select, raydub.models.load, raydub.models.catalogue"
    script = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
