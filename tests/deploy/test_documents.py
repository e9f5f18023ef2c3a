"""What docs/operations.md and the manifests name exists: commands, options, variables, codes, metrics, files."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import typer

from raydub import __version__
from raydub.cluster.cli import app
from raydub.errors import Code
from tests.deploy.files import DEPLOY, ROOT, containers, pods, rayjob

TEXT = (ROOT / "docs/operations.md").read_text()
MANIFESTS = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]
PACKAGES = ("raydub", "cluster", "manifests", "media", "models", "pipeline", "stages", "tts")


def named_commands() -> list[list[str]]:
    """The words after "raydub" of each command in the document and in the manifests."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.findall(r"^raydub (.+)$", block, re.MULTILINE)]
    lines += re.findall(r"`(?:kubectl [^`]+ -- )?raydub ([a-z][^`]*)`", TEXT)
    lines += re.findall(r"'raydub (run [^']+)'", (DEPLOY / "ray-up-aws.yaml").read_text())
    lines += re.findall(r"bin/raydub (.+)$", (DEPLOY / "ray-up-aws.yaml").read_text(), re.MULTILINE)
    lines.append(rayjob()["spec"]["entrypoint"].removeprefix("raydub "))
    found = [shlex.split(line) for line in lines]
    for _, pod in pods(rayjob()):
        found += [one["command"][1:] for one in containers(pod) if one.get("command", [""])[0] == "raydub"]
    return found


def test_every_command_and_option_exists() -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = named_commands()
    assert {words[0] for words in found} >= {"run", "submit", "plan", "models", "doctor", "clean"}
    for words in found:
        name, rest = words[0], words[1:]
        command = commands[name]
        if rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        parts = [command, commands["run"]] if name == "submit" else [command]
        known = {flag for part in parts for parameter in part.params for flag in parameter.opts}
        assert {word for word in rest if re.match("--?[a-z]", word)} <= known, words


def test_other_options_in_the_text_are_those_of_run() -> None:
    run = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    known = {flag for parameter in run.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    named = {match for match in re.findall(r"`(--[a-z-]+)[^`]*`", TEXT)}
    assert named
    assert named <= known


def test_every_variable_of_raydub_exists() -> None:
    sources = "".join(path.read_text() for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    named = {name for path in MANIFESTS for name in re.findall(r"\bRAYDUB_[A-Z_]+\b", path.read_text())}
    named |= set(re.findall(r"\bRAYDUB_[A-Z_]+\b", TEXT))
    assert {"RAYDUB_WEIGHTS", "RAYDUB_MIRROR"} <= named
    assert not {name for name in named if f'"{name}"' not in sources}


def test_variables_of_ray_exist() -> None:
    """Ray ignores a variable that it does not know."""
    from ray._private import ray_constants

    named = {name for path in MANIFESTS for name in re.findall(r"\bRAY_[A-Z]+_[A-Z_]+\b", path.read_text())}
    assert "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S" in named
    elsewhere = {"RAY_USAGE_STATS_ENABLED", "RAY_AUTH_MODE", "RAY_HEAD_IP"}
    assert {name for name in named if not hasattr(ray_constants, name)} <= elsewhere


def test_every_code_exists() -> None:
    named = set(re.findall(r"`(E_[A-Z_]+)`", TEXT))
    assert len(named) >= 10
    assert named <= {str(code) for code in Code}


def test_every_metric_exists() -> None:
    named = set(re.findall(r"ray_(raydub_\w+)", TEXT))
    assert len(named) >= 2
    if importlib.util.find_spec("raydub.pipeline.metrics") is not None:
        metrics = importlib.import_module("raydub.pipeline.metrics").METRICS
        exported = {f"{name}_total" if about.kind == "counter" else name for name, about in metrics.items()}
        assert named <= exported


def test_every_file_and_folder_exists() -> None:
    named = set(re.findall(r"\b(deploy/[\w./-]*\w)", TEXT + "".join(path.read_text() for path in MANIFESTS)))
    assert len(named) >= 6
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_first_run_takes_ten_commands() -> None:
    block = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[0]
    numbers = [
        int(number) for line in re.findall(r"^# (\d.*)$", block, re.M) for number in re.findall(r"(\d+)\.", line)
    ]
    assert [number for number in numbers if number <= 10][:10] == list(range(1, 11))
    commands = [line for line in block.splitlines() if not line.startswith("#")]
    assert len(commands) == 10
    assert block.count(f":{__version__} ") == 2


def test_the_fourth_command_replaces_all_placeholders(tmp_path: Path) -> None:
    [command] = re.findall(r"^sed -i .*$", TEXT, re.MULTILINE)
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    text = "".join(path.read_text() for path in (tmp_path / "deploy/kubernetes").rglob("*.yaml"))
    assert "MY-BUCKET/out" in text
    assert "REGISTRY/raydub-cuda" in text
    assert not re.search(r"//BUCKET|example\.com", text)


def test_rights_to_the_bucket_are_few() -> None:
    policy = json.loads((DEPLOY / "bucket-policy.json").read_text())
    rights: dict[str, set[str]] = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        rights.setdefault(statement["Resource"].removeprefix("arn:aws:s3:::"), set()).update(actions)
    assert rights == {
        "BUCKET": {"s3:ListBucket"},
        "BUCKET/in/*": {"s3:GetObject"},
        "BUCKET/out/*": {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"},
    }
    words = shlex.split(rayjob()["spec"]["entrypoint"])
    assert words[2].startswith("s3://BUCKET/in/")
    assert words[words.index("--output-root") + 1] == "s3://BUCKET/out"
