"""Habits of the repository that a machine can hold: true documents, floors, a light start, clean files."""

from __future__ import annotations

import ast
import graphlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest
import typer

from raydub import __version__, errors
from raydub.cluster.cli import app
from raydub.manifests.job import Job
from raydub.manifests.options import FIELDS, Options, choices
from raydub.manifests.read import read_manifest
from raydub.manifests.rows import OWN, parse_row

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("raydub", "manifests", "media", "models", "stages", "tts", "pipeline", "cluster")
DOCUMENTED = ("docs", "deploy", "examples")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def sources() -> list[Path]:
    return [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def test_every_error_code_is_documented_once() -> None:
    found = re.findall(r"^\| `(E_\w+)` \| (.+?) \| (.+?) \|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    assert sorted(code for code, _, _ in found) == sorted(str(code) for code in errors.Code)
    assert all(len(meaning) > 8 and len(way_out) > 8 for _, meaning, way_out in found)


def test_the_readme_is_short() -> None:
    """As `wc -w` counts; longer explanations belong into docs/."""
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_the_index_lists_every_document() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]
    assert [name for name in pages if f"({name})" not in index] == []


def test_pictures_in_documents_are_small() -> None:
    pictures = [path for path in (ROOT / "docs").iterdir() if path.suffix in (".jpg", ".png")]
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size >= 200_000] == []


def test_every_manifest_field_is_documented_once() -> None:
    found = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/fields.md").read_text(), re.MULTILINE)
    assert sorted(found) == sorted((*OWN, *FIELDS))


def test_documented_defaults_and_choices_are_those_of_the_code() -> None:
    """Cells of three fields describe a default that depends on others; presets are the encoder's business."""
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*\|[^|]*) \|$", (ROOT / "docs/fields.md").read_text(), re.MULTILINE))
    described = {"restore_model", "upscale_model", "outscale"}
    for name in FIELDS:
        default, meaning = (cell.strip() for cell in rows[name].split("|"))
        assert name in described or default == shown(Options.model_fields[name].default), name
        assert name in {"preset", "face"} or all(word in meaning for word in choices(name)), name


def shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def test_ci_runs_the_tests_that_the_readme_names() -> None:
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci/run").read_text()
    assert "make test" in readme
    assert re.search(r"^make .*\btest$", script, re.MULTILINE)
    assert re.search(r"^make .*\blint$", script, re.MULTILINE)
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_links_in_documents_lead_somewhere() -> None:
    """Files exist, and so do the headings of links with an anchor."""
    broken = []
    for document in [*ROOT.glob("*.md"), *(path for name in DOCUMENTED for path in (ROOT / name).rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            path, _, anchor = target.partition("#")
            goal = document.parent / path if path else document
            if "://" in target or (goal.exists() and (not anchor or anchor in anchors(goal))):
                continue
            broken.append(f"{document.relative_to(ROOT)} -> {target}")
    assert broken == []


def anchors(document: Path) -> set[str]:
    """The anchors of a Markdown file's headings: lower case, without punctuation, spaces as dashes."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


_BLOCK = r"^```(\w*)\n(.*?)^```$"


def fenced(language: str) -> list[tuple[str, str]]:
    """(document, text) of each block of code in README and docs/ that names this language."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [(path.name, *block) for path in documents for block in re.findall(_BLOCK, path.read_text(), re.M | re.S)]
    return [(name, text) for name, said, text in found if said == language]


def test_rows_in_documents_are_valid(tmp_path: Path) -> None:
    rows = [(name, row) for name, text in fenced("json") for row in objects_in(text)]
    assert len(rows) >= 5
    for name, row in rows:
        found = parse_row(row, tmp_path, tmp_path)
        assert isinstance(found, Job), (name, row, found)


def objects_in(text: str) -> list[dict[str, object]]:
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_commands_in_documents_exist_with_their_flags() -> None:
    lines = [line for _, text in fenced("") for line in re.findall(r"^(?:\w+\$ +)?raydub (.+)$", text, re.MULTILINE)]
    assert len(lines) >= 15
    for line in lines:
        command, words = typer.main.get_command(app), shlex.split(line, comments=True)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert command.name in line.split()[:2], line
        known = {flag for one in (command, *run_of(command)) for parameter in one.params for flag in parameter.opts}
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= known | {"--help"}, line


def run_of(command: object) -> list[Any]:
    """What follows "--" in `raydub submit` are options of `raydub run`."""
    return [typer.main.get_command(app).commands["run"]] if getattr(command, "name", "") == "submit" else []


def test_every_command_is_in_the_index() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(typer.main.get_command(app).commands)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and those for type checking count too."""
    graph = grimp.build_graph("raydub", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    imports["raydub"] -= {"raydub.cluster.api"}  # the Python API, which is imported when its name is first asked for
    graphlib.TopologicalSorter(imports).prepare()  # CycleError names the modules of a circle


def test_every_direct_dependency_is_pinned() -> None:
    def names(lines: list[str]) -> set[str]:
        return {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~! ]", line)[0]).lower() for line in lines}

    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    asked = list(PROJECT["project"]["dependencies"])
    asked += [spec for extra in PROJECT["project"]["optional-dependencies"].values() for spec in extra]
    assert names(asked) - names(pins) == set()


def test_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_modules_are_small_and_say_what_they_are() -> None:
    for path in sources():
        text = path.read_text()
        if not text.strip():
            continue
        assert ast.get_docstring(ast.parse(text)), f"{path.relative_to(ROOT)} has no docstring"
        assert len(text.splitlines()) <= 320, f"{path.relative_to(ROOT)} is too long"


def test_package_files_are_empty_but_for_a_docstring() -> None:
    for path in sources():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            if path.parent == ROOT / "raydub":  # the version, and the Python API by name: nothing of it at import
                loaded = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
                assert {getattr(node, "module", None) for node in loaded} <= {"typing", None}
                continue
            assert all(isinstance(node, ast.Expr) for node in body), path.relative_to(ROOT)


def test_no_leftovers() -> None:
    here = re.escape(str(ROOT))
    words = re.compile(rf"\b(TODO|FIXME|XXX|NotImplementedError)\b|/home/\w|/root/|{here}\b")
    found = [
        f"{path.relative_to(ROOT)}: {hit.group(0)}" for path in sources() for hit in words.finditer(path.read_text())
    ]
    assert found == []


def test_the_floors_hold() -> None:
    """Each floor imports only floors below it, and nothing below the pipeline imports Ray (as import-linter checks)."""
    rank = {"raydub": 0, "media": 1, "models": 1, "manifests": 2, "stages": 3, "tts": 3, "pipeline": 4, "cluster": 5}
    wrong = []
    for path in sources():
        if path == ROOT / "raydub" / "__init__.py":
            continue  # names the Python API for type checkers, and loads it when it is asked for
        floor = path.relative_to(ROOT).parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top, inside = (*name.split("."), "")[:2]
                if top in FLOORS[1:]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}, which is raydub.{name}")
                top = inside if top == "raydub" and inside in FLOORS else top
                too_high = top in rank and top != floor and rank[top] >= rank[floor]
                if too_high or (top == "ray" and rank[floor] < rank["pipeline"]):
                    wrong.append(f"{path.relative_to(ROOT)} imports {top}")
    assert wrong == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_command_starts_light(arguments: list[str]) -> None:
    heavy = ("torch", "ray", "cv2", "dlib", "librosa", "av", "openvino", "scipy")
    code = (
        "import sys, raydub.cluster.cli\n"
        f"sys.argv = ['raydub', *{arguments!r}]\n"
        "try:\n    raydub.cluster.cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('loaded:', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.splitlines()[-1]
    assert loaded == "loaded: []"


def test_the_embedded_engine_loads_no_heavy_library() -> None:
    """Each of these costs every worker 0.5 to 4 s of CPU time."""
    heavy = ("torch", "ray", "librosa", "numba", "scipy", "pandas", "pyarrow", "openvino")
    code = (
        "import sys, numpy\n"
        "import raydub.stages.prepare, raydub.stages.chunk, raydub.stages.synthesise, raydub.stages.render\n"
        "import raydub.stages.stitch, raydub.pipeline.child\n"
        "from raydub.manifests.options import Options\n"
        "from raydub.media.activity import activity\n"
        "from raydub.models.mel import mel_spectrogram\n"
        "from raydub.pipeline.engines import engine_device, make_job_engine\n"
        "speech = numpy.zeros(16000, numpy.float32)\n"
        "mel_spectrogram(speech), activity(speech)\n"
        "make_job_engine(Options()).load(engine_device(Options(), 'auto'))\n"
        f"print('loaded:', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_a_wav2lip_checkpoint_runs_without_torch_beside_openvino(tmp_path: Path) -> None:
    """Importing torch costs each worker 3 s of CPU time."""
    pytest.importorskip("openvino")
    from raydub.models.device import may_have_gpu

    if may_have_gpu():
        pytest.skip("there may be a GPU, and only torch knows")
    import torch

    from raydub.models.wav2lip import Wav2Lip

    torch.save({"state_dict": Wav2Lip(1 / 16).state_dict()}, tmp_path / "x.pth")
    code = (
        "import sys, numpy\n"
        "from raydub.manifests.options import Options\n"
        "from raydub.pipeline.engines import engine_device, make_job_engine\n"
        f"options = Options(model={str(tmp_path / 'x.pth')!r})\n"
        "engine = make_job_engine(options)\n"
        "engine.weights()\n"
        "engine.load(engine_device(options, 'auto'))\n"
        "engine._batches.map(numpy.zeros((3, 96, 96, 3), numpy.uint8), numpy.zeros((3, 80, 16), numpy.float32))\n"
        "print('loaded:', [name for name in ('torch', 'openvino') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: ['openvino']"


def test_the_demo_sample_is_whole_small_and_a_valid_manifest() -> None:
    folder = ROOT / "examples" / "demo"
    result = read_manifest(folder / "jobs.jsonl")
    assert not result.bad
    assert [job.id for job in result.jobs] == ["demo-en", "demo-es"]
    for job in result.jobs:
        assert Path(job.video).is_file()
        assert job.script is not None
        assert Path(job.script).is_file()
    media = [path for path in folder.iterdir() if path.suffix in (".mp4", ".png", ".flac")]
    assert sum(path.stat().st_size for path in media) < 1_000_000


def test_nothing_large_is_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    large = [f"{path.relative_to(ROOT)}" for path in paths if path.is_file() and path.stat().st_size > 8 * 2**20]
    assert large == []


def test_files_are_opened_as_what_they_are_said_to_be() -> None:
    """No reader is left to guess among all that FFmpeg knows, and no ffmpeg program is asked at all."""
    loose, programs = [], []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "av.open":
                said = {keyword.arg for keyword in node.keywords}
                loose += [f"{path}:{node.lineno}"] if not said & {"format", "options"} else []
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            programs += [f"{path}: {name}" for name in names if name.split(".")[0] in ("ffmpeg", "imageio_ffmpeg")]
            if isinstance(node, ast.Constant) and node.value in ("ffmpeg", "ffprobe") and path.name != "checks.py":
                programs.append(f"{path}:{node.lineno}")
    assert loose == []
    assert programs == []
