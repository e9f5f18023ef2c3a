"""Only regular files are opened, and nothing else makes anybody wait."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from raydub.kinds import NotRegularError
from raydub.regular import open_regular, read_regular

ROOT = Path(__file__).resolve().parents[2]


def test_a_regular_file_is_read_through_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    with open_regular(tmp_path / "link") as stream:
        assert stream.read() == b"abc"
        assert os.get_blocking(stream.fileno())
        assert not os.get_inheritable(stream.fileno())
    assert read_regular(str(tmp_path / "a"), 2) == b"ab"


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a folder", "a device"])
def test_what_is_no_file_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(NotRegularError) as caught:
        open_regular(path)
    assert caught.value.strerror == f"is {kind}, not a file"


def test_other_errors_are_the_systems(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(tmp_path / "loop")
    with pytest.raises(ValueError, match="null"):
        open_regular("a\0b")


def test_a_file_exchanged_for_a_pipe_after_the_look_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    looked = os.stat(tmp_path / "a")
    monkeypatch.setattr("raydub.regular.os.stat", lambda path: looked)
    with pytest.raises(NotRegularError):
        open_regular(tmp_path / "pipe")


READERS = """
import sys
from pathlib import Path
path = sys.argv[1]
def identity():
    from raydub.identity import identify
    identify(path)
def finished():
    from raydub.manifests.job import Job
    from raydub.pipeline.finished import Finished
    job = Job(id="a", video=path, audio=path, output="/nowhere/a.mp4", line=1)
    assert Finished(sys.argv[2]).finished(job, ()) is None
def results():
    from raydub.manifests.results import read_results
    read_results(path)
def weights():
    from raydub.models.load import load_state
    load_state(path)
def note():
    from raydub.models.store.folders import read_json
    assert read_json(Path(path)) == {}
def digest():
    from raydub.models.load import sha256_of
    sha256_of(path)
def script():
    from raydub.tts.scripts.read import read_script
    read_script(path)
def picture():
    from raydub.media.images import read_upright
    read_upright(path)
def manifest():
    from raydub.manifests.read import read_manifest
    read_manifest(path)
try:
    globals()[sys.argv[3]]()
except Exception as error:
    sys.stdout.write(type(error).__name__)
else:
    sys.stdout.write("none")
"""


@pytest.mark.parametrize(
    ("reader", "outcome"),
    [
        ("identity", "NotRegularError"),
        ("finished", "none"),
        ("results", "NotRegularError"),
        ("weights", "DependencyError"),
        ("note", "none"),
        ("digest", "NotRegularError"),
        ("script", "InputError"),
        ("picture", "InputError"),
        ("manifest", "UsageError"),
    ],
)
def test_no_reader_waits_for_a_pipe(tmp_path: Path, reader: str, outcome: str) -> None:
    path = tmp_path / "pipe.jsonl"
    os.mkfifo(path)
    call = [sys.executable, "-c", READERS, str(path), str(tmp_path), reader]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == outcome, done.stderr[-2000:]
