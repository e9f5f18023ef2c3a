"""`raydub fields` and `raydub clean` as users meet them."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.manifests.options import EXPECTED, FIELDS
from raydub.manifests.rows import OWN
from tests.pipeline.test_clean import job


def invoke(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_all_fields_are_listed_with_their_texts() -> None:
    rows = json.loads(invoke("fields", "--json").stdout)["fields"]
    assert {row["name"] for row in rows} == {*OWN, *FIELDS}
    assert {row["name"]: row["takes"] for row in rows if row["name"] in FIELDS} == EXPECTED
    text = invoke("fields").stdout
    assert all(f"\n  {name} " in text for name in (*OWN, *FIELDS))


def test_one_field() -> None:
    said = invoke("fields", "no-face").stdout
    assert said.splitlines() == [
        f"no_face: {EXPECTED['no_face']}",
        "  default: keep",
        "  values: keep, drop, hold, fail",
        "  flag of run and dub: --no-face",
        "  group: Which frames get a new mouth",
    ]
    wrong = invoke("fields", "maskin")
    assert wrong.exit_code == 2
    assert "did you mean 'masking'?" in wrong.stderr


def test_clean_says_what_it_frees(tmp_path: Path) -> None:
    job(tmp_path, "ready", True)
    (tmp_path / "work").rename(tmp_path / ".raydub")
    assert invoke("clean", tmp_path / "nothing").exit_code == 2
    dry = json.loads(invoke("clean", tmp_path, "--dry-run", "--json").stdout)
    assert dry["removed"] is False
    done = invoke("clean", tmp_path)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("freed ")
    assert done.stdout.splitlines()[-1].endswith(str(tmp_path / ".raydub"))
    assert json.loads(invoke("clean", tmp_path / ".raydub", "--json").stdout)["bytes"] == 0
    assert (tmp_path / "ready.mp4").exists()
