"""Free memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from raydub import memory

HOLES = """
from raydub.memory import release_free_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

blocks = [bytearray(40_000) for _ in range(5_000)]   # 200 MB in pieces that malloc takes from its heap
kept = blocks[::100]
del blocks
before = resident()
assert release_free_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux" or memory._trim() is None, reason="needs glibc on Linux")
def test_holes_between_what_is_still_used_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_trim", lambda: None)
    assert memory.release_free_memory() is False
