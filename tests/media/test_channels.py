"""1 to 64 channels in every container, format and layout: the mean is that of all channels but the subwoofer's.

Each channel holds a level of its own, (k + 1) / 100, so that no channel can be missing or stand for another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.media.samples import Samples, Stereo, channel_names, mono, plain_layout
from tests.examples import examples
from tests.ffmpeg import ffmpeg_program, is_pinned

ROOT = Path(__file__).resolve().parents[2]
# (suffix, codec, channels, layout that the maker is told or "", places of subwoofers).
SOUNDS = [
    *[("wav", "pcm_s16le", count, "", ()) for count in (1, 2, 9, 13, 33, 64)],
    ("wav", "pcm_u8", 8, "7.1", (3,)),
    ("wav", "pcm_f32le", 12, "7.1.4", (3,)),
    ("wav", "pcm_f64le", 8, "octagonal", ()),
    ("wav", "pcm_s24le", 24, "22.2", ()),  # its mask has no room for the names
    ("mp4", "pcm_s16le", 24, "22.2", (3, 18)),
    ("w64", "pcm_s32le", 8, "7.1", (3,)),
    ("w64", "pcm_s24le", 64, "", ()),
    ("flac", "flac", 7, "6.1", (3,)),
    ("flac", "flac", 8, "7.1", (3,)),
    ("mkv", "pcm_s32le", 12, "", ()),
    ("mka", "pcm_f64le", 64, "", ()),
    ("mkv", "flac", 8, "7.1", (3,)),
    ("mkv", "aac", 8, "7.1", (3,)),
    ("mkv", "wavpack", 64, "", ()),
    ("mkv", "tta", 16, "", ()),
    ("mov", "pcm_s16le", 8, "7.1", (3,)),
    ("mov", "pcm_s16le", 8, "LFE+FL+FR+FC+BL+BR+SL+SR", (0,)),
    ("mov", "pcm_f32le", 2, "FR+FL", ()),
    ("mov", "pcm_f32le", 64, "", ()),
    ("mp4", "pcm_s16le", 8, "7.1(wide)", (3,)),
    ("mp4", "aac", 8, "7.1", (3,)),
    ("mp4", "alac", 8, "7.1(wide)", (3,)),
    ("caf", "pcm_s24le", 8, "7.1", (3,)),
    ("caf", "pcm_s16le", 32, "", ()),
    ("aiff", "pcm_s16be", 8, "7.1", (3,)),
    ("aiff", "pcm_s16be", 64, "", ()),
    ("ogg", "flac", 8, "7.1", (3,)),
    ("ts", "ac3", 6, "5.1", (3,)),
]
NAMES = [f"{suffix}-{codec}-{count}-{layout}" for suffix, codec, count, layout, _ in SOUNDS]


def made(folder: Path, suffix: str, codec: str, count: int, layout: str) -> Path | None:
    """None where another program than the pinned one cannot make it."""
    path = folder / f"{suffix}-{codec}-{count}-{layout}.{suffix}"
    levels = "|".join(f"{(number + 1) / 100}" for number in range(count))
    source = f"aevalsrc=exprs={levels}:s=48000:d=0.4" + (f":c={layout}" if layout else "")
    call = [ffmpeg_program(), "-nostdin", "-y", "-loglevel", "error", "-f", "lavfi", "-i", source, "-c:a", codec]
    done = subprocess.run([*call, "-b:a", "800k", "-strict", "-2", str(path)], check=is_pinned())
    return path if done.returncode == 0 else None


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("channels")
    paths = [path for path in (made(folder, *sound[:4]) for sound in SOUNDS) if path is not None]
    call = [sys.executable, "-m", "tests.media.channels_child", *map(str, paths)]
    # The child loads the same code as this process, wherever that lies.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300, env=environment)
    return dict(zip((path.stem for path in paths), map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.timeout(300, method="thread")
@pytest.mark.parametrize(("sound", "name"), list(zip(SOUNDS, NAMES, strict=True)), ids=NAMES)
def test_mean_of_all_channels(
    heard: dict[str, dict[str, Any]], sound: tuple[str, str, int, str, tuple[int, ...]], name: str
) -> None:
    _, codec, count, layout, low = sound
    if name not in heard:
        pytest.skip("the chosen ffmpeg program cannot make this file")
    found = heard[name]
    if not is_pinned() and found["status"] == 256:
        pytest.skip("what the chosen ffmpeg program has made is refused with an error")
    assert found["status"] == 0, "the process was ended"
    levels = [(number + 1) / 100 for number in range(count) if number not in low]
    exact = 0.012 if codec in ("pcm_u8", "aac", "ac3") else 1e-3
    assert found["channels"] == count
    assert found["speech"] == pytest.approx(np.mean(levels), abs=exact)
    if count <= 2:
        assert found["stereo"] == pytest.approx(
            {"FR+FL": [0.02, 0.01]}.get(layout, levels * (2 if count == 1 else 1)), abs=exact
        )
    elif count > 8:
        assert found["mono"] == pytest.approx([np.mean(levels)], abs=exact)
        assert found["stereo"] == pytest.approx([np.mean(levels)] * 2, abs=exact)
    elif layout == "7.1":
        # libav's matrix: the centre and the four surrounds 3 dB down.
        half = np.sqrt(0.5)
        sides = [0.01 + half * (0.03 + 0.05 + 0.07), 0.02 + half * (0.03 + 0.06 + 0.08)]
        assert found["stereo"] == pytest.approx(sides, abs=exact)


FORMATS = [name + planar for name in ("u8", "s16", "s32", "flt", "dbl") for planar in ("", "p")]


@settings(deadline=None, max_examples=examples(60))
@given(st.sampled_from(FORMATS), st.integers(1, 64), st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_samples_of_any_frame(form: str, count: int, length: int, seed: int) -> None:
    """Every sample of every channel comes out where it went in."""
    rng = np.random.default_rng(seed)
    wanted = rng.uniform(-0.99, 0.99, (length, count))
    scale = {"u8": 2**7, "s16": 2**15, "s32": 2**31}.get(form.removesuffix("p"), 1)
    kind = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}
    numbers = np.rint(wanted * scale) + (128 if form.startswith("u8") else 0) if scale > 1 else wanted
    packed = np.ascontiguousarray(numbers.reshape(1, -1).astype(kind[form.removesuffix("p")]))
    frame = av.AudioFrame.from_ndarray(packed, form.removesuffix("p"), f"{count} channels")
    frame.sample_rate = 48000
    if form.endswith("p"):
        # Not from_ndarray: it looks at the planes of the frame that it makes.
        frame = av.AudioResampler(form, frame.layout, 48000).resample(frame)[0]
    samples = Samples()
    block = samples.of(frame)
    assert block.shape == (length, count)
    assert block.dtype == np.float32
    assert np.abs(block - wanted).max() <= max(0.5 / scale, 1e-7) * 1.01
    assert np.allclose(mono(block, samples.names)[:, 0], block.mean(axis=1), atol=1e-6)


def test_layouts_are_put_in_order() -> None:
    assert plain_layout(("FL", "FR", "FC", "LFE")) == "FL+FR+FC+LFE"
    assert plain_layout(("FR", "FL")) == "2 channels"
    assert plain_layout(("FL", "FL")) == "2 channels"
    assert plain_layout(("", "")) == "2 channels"
    field = np.array([[0.5, 0.1, 0.2, 0.3]], np.float32)
    assert mono(field, ("AMBI0", "AMBI1", "AMBI2", "AMBI3"))[0, 0] == np.float32(0.5)
    assert not Stereo(("AMBI0", "AMBI1", "AMBI2", "AMBI3"), 48000).known
    assert Stereo(("",) * 6, 48000).known
    context = av.CodecContext.create("pcm_s16le", "r")
    assert channel_names(context) == ()
