"""What an edited stage makes is not mistaken for what it made before: whatever the edit, with or without sources."""

from __future__ import annotations

import ast
import compileall
import shutil
import time
from pathlib import Path

import pytest

import raydub
from raydub.stages import code
from raydub.stages.code import DECIDING, GALLERIES, TRACKING, code_digest, running

ROOT = Path(raydub.__file__).parent


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, which the digest looks at."""
    for floor in ("media", "models", "stages"):
        shutil.copytree(ROOT / floor, tmp_path / floor, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    monkeypatch.setattr(raydub, "__file__", str(tmp_path / "__init__.py"))
    return tmp_path


def test_every_edit_of_a_deciding_module_counts_where_it_decides(installed: Path) -> None:
    tracking, deciding = code_digest(TRACKING), code_digest(DECIDING)
    for name, tracks in (
        ("stages/mask.py", False),
        ("stages/lipsync/warp_shape.py", False),
        ("models/wav2lip.py", False),
        ("models/face_detectors.py", True),
        ("stages/track/raw.py", True),
        ("media/decode.py", True),
    ):
        path = installed / name
        text = path.read_text()
        path.write_text(text.replace("0", "1"))
        assert text != path.read_text()
        assert code_digest(DECIDING) != deciding
        assert (code_digest(TRACKING) != tracking) == tracks
        path.write_text(text)
    for name in ("models/store/pull.py", "media/fetch_http.py", "models/mouth/train/recipe.py"):
        (installed / name).write_text("")
    assert (code_digest(TRACKING), code_digest(DECIDING)) == (tracking, deciding)
    for name in ("stages/faces.py", "stages/engine.py", "stages/mouths/collect.py", "stages/track/see.py"):
        galleries, text = code_digest(GALLERIES), (installed / name).read_text()
        (installed / name).write_text(text + "#")
        assert code_digest(GALLERIES) != galleries
        (installed / name).write_text(text)
    (installed / "stages" / "track" / "new.py").touch()
    assert code_digest(TRACKING) != tracking


def test_an_installation_without_sources_is_known_by_its_bytecode(installed: Path) -> None:
    compileall.compile_dir(installed, quiet=1, legacy=True)
    for path in installed.rglob("*.py"):
        path.unlink()
    first = code_digest(DECIDING)
    (installed / "stages" / "mask.pyc").write_bytes(b"another")
    assert code_digest(DECIDING) != first
    (installed / "models" / "faces.pyc").write_bytes(b"another")
    assert code_digest(TRACKING) != code_digest(("media", "stages/types.py", "stages/track"))


def test_a_process_knows_the_code_that_it_runs(installed: Path) -> None:
    code.running.cache_clear()
    first = running(DECIDING)
    (installed / "stages" / "mask.py").write_text("edited")
    assert running(DECIDING) == first != code_digest(DECIDING)
    code.running.cache_clear()


def test_it_is_cheap() -> None:
    start = time.process_time()
    code_digest(DECIDING)
    assert time.process_time() - start < 0.1  # 9 ms on a machine that is not busy


def test_tracking_knows_all_that_it_imports() -> None:
    """Whatever the tracker and the reader import of media, models and stages is in TRACKING, or decides nothing."""
    # Readers of weights files, which are known by digest.
    apart = {"models/load.py", "models/torch_file.py", "models/catalogue.py", "models/verdict.py", "stages/lipstate.py"}
    todo, seen = ["stages/track/tracker.py", "media/frames.py"], set[str]()
    while todo:
        name = todo.pop()
        if name in seen or not name.startswith(("media/", "models/", "stages/")) or not (ROOT / name).is_file():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("raydub."):
                folder = (node.module or "").removeprefix("raydub.").replace(".", "/")
                todo += [f"{folder}.py", *(f"{folder}/{alias.name}.py" for alias in node.names)]
    left = {name for name in seen if not name.startswith(TRACKING) and not name.startswith("models/store/")}
    assert left <= apart
