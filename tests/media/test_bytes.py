"""The same frames give the same bytes: whatever lies in memory, with any number of cores, on any processor."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydub.media.frames import open_frames
from raydub.media.hdr import PQ
from raydub.media.probe import probe_video
from tests.examples import slow
from tests.media.encode_child import encode
from tests.media.films import film
from tests.media.test_fields import fields_film
from tests.media.test_hdr import deep_film

CODECS = ["libx264", "libx265"]
GARBAGE = ["1", "77", "254"]
X86 = platform.machine() in ("x86_64", "AMD64")
# Widths of 68, 7, 13, 80 macroblocks: x264's AVX-512 look-ahead reads beyond rows that are no multiple of 8.
FEW = [(1080, 720), (112, 64), (202, 118), (1280, 98)]
MANY = [
    (1080, 720), (1278, 718), (854, 480), (848, 480), (720, 576), (426, 240), (406, 720), (608, 1080), (366, 206),
    (322, 182), (258, 194), (250, 250), (202, 118), (198, 98), (162, 90), (128, 128), (114, 66), (112, 64), (98, 66),
    (66, 34),
]  # fmt: skip


def digests(asked: Sequence[dict[str, Any]], garbage: str = "", cores: set[int] | None = None) -> list[str]:
    """What a fresh process writes. garbage: the byte that fills memory when it is handed out and given back."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.media.encode_child"],
        input="".join(json.dumps(one) + "\n" for one in asked),
        env={**os.environ, **({"MALLOC_PERTURB_": garbage} if garbage else {})},
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = done.stdout.split()
    assert len(found) == len(asked)
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_writing_is_deterministic(codec: str) -> None:
    """Red with x264's own choice of code where the processor has AVX-512 (two results at 1080x720), with any core."""
    asked = [{"codec": codec, "size": size, "frames": 20 if codec == "libx264" else 4} for size in FEW]
    made = [digests(asked, garbage) for garbage in (GARBAGE if codec == "libx264" else GARBAGE[:2])]
    assert made.count(made[0]) == len(made)


@pytest.mark.parametrize("codec", CODECS)
def test_a_part_of_a_few_frames_is_deterministic(codec: str) -> None:
    """x265 does not set the decoding times of films of one or two frames: some could not be written."""
    asked = [{"codec": codec, "size": (96, 64), "frames": frames} for frames in (1, 2, 3)]
    made = [digests(asked, garbage) for garbage in GARBAGE]
    assert made.count(made[0]) == len(made)


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_writing_is_deterministic_at_many_sizes(codec: str) -> None:
    asked = [{"codec": codec, "size": size, "frames": 20 if codec == "libx264" else 6} for size in MANY]
    tried = ("1", "33", "77", "128", "200", "254") if codec == "libx264" else ("1", "128", "254")
    made = [digests(asked, garbage) for garbage in tried]
    assert made.count(made[0]) == len(made)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away on this system")
@pytest.mark.parametrize("codec", CODECS)
def test_the_number_of_cores_does_not_change_the_bytes(codec: str) -> None:
    """PyAV asks encoders for as many slices as there are cores; x265 turns its rows off where it has one."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        pytest.skip("one core only")
    asked = [{"codec": codec, "size": (202, 118), "frames": 12}]
    assert digests(asked, cores=set(mine[:1])) == digests(asked, cores=set(mine[:2]))


@pytest.mark.skipif(not X86, reason="names of x86 instruction sets")
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("asm", ["0", slow("sse2"), slow("ssse3")])
def test_the_processor_does_not_change_the_bytes(tmp_path: Path, codec: str, asm: str) -> None:
    """Instruction sets that every x86-64 processor of today has, against what this one would choose."""
    size = (1080, 720) if codec == "libx264" else (202, 118)
    own = encode(tmp_path / "own.mp4", codec, size, 20)
    assert encode(tmp_path / "other.mp4", codec, size, 20, f":asm={asm}") == own


def test_nothing_in_a_part_names_the_processor(tmp_path: Path) -> None:
    assert b"cpuid" not in encode(tmp_path / "a.mp4", "libx265", (96, 64), 2)


READ = """
import hashlib, sys
from raydub.media.frames import open_frames
from raydub.media.probe import probe_video
for path in sys.argv[1:]:
    digest = hashlib.sha256()
    info = probe_video(path)
    with open_frames(info) as reader:
        for frame in reader.frames(0, info.n_frames):
            for plane in (frame.y, frame.u, frame.v):
                digest.update(plane)
    print(digest.hexdigest())
"""


@pytest.mark.slow
def test_reading_does_not_depend_on_what_lies_in_memory(tmp_path: Path) -> None:
    """Decoders, the filter for interlaced film, the tone map, libswscale; at sizes that fill no block."""
    kinds = [
        ("a.mp4", "libx264", "yuv420p"), ("b.mp4", "libx265", "yuv420p10le"), ("c.mkv", "ffv1", "yuv422p10le"),
        ("d.avi", "mjpeg", "yuvj420p"), ("e.mkv", "ffv1", "bgr0"), ("f.mpg", "mpeg2video", "yuv420p"),
        ("g.mov", "prores_ks", "yuv422p10le"),
        ("h.webm", "libvpx-vp9", "yuv420p"), ("i.mkv", "ffv1", "gray"), ("j.mkv", "libx264", "yuv444p"),
    ]  # fmt: skip
    fields = {"flags": "+ildct+ilme"}
    paths = [
        str(fields_film(tmp_path / "fields.mp4", 6, options=fields)),
        str(deep_film(tmp_path / "pq.mkv", [np.random.default_rng(3).uniform(0, 1, (94, 122, 3))] * 6, PQ)),
    ]
    for name, codec, pix_fmt in kinds:
        size = (202, 118) if codec in ("libx264", "libx265", "mpeg2video", "libvpx-vp9", "prores_ks") else (203, 117)
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        paths.append(
            str(film(tmp_path / name, range(6), Fraction(25), codec=codec, pix_fmt=pix_fmt, size=size, options=quiet))
        )
        with open_frames(probe_video(paths[-1])) as reader:
            assert len(list(reader.frames(0, 6))) == 6
    seen = [
        subprocess.run(
            [sys.executable, "-c", READ, *paths],
            env={**os.environ, "MALLOC_PERTURB_": garbage},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.split()
        for garbage in GARBAGE
    ]
    assert len(seen[0]) == len(paths)
    assert seen.count(seen[0]) == len(seen)
