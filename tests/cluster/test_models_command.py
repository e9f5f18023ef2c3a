"""`raydub models` as a user meets it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.errors import Code, DependencyError
from raydub.models import catalogue
from raydub.models.catalogue import Entry
from tests.kept import at_rest
from tests.models.weights_server import Shelf, Shop, entry_for, open_shop, own_folder, weights

REPOSITORY = Path(__file__).resolve().parents[2]
CONTENT = weights(2_000_000)
LICENCE = "codeformer-noncommercial"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_folder(tmp_path, monkeypatch)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with open_shop() as found:
        yield found


@pytest.fixture
def net(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A non-commercial file of 2 MB, in the catalogue for this test."""
    entry = entry_for(CONTENT, shop.put("/net.pth", Shelf(CONTENT)), licence=LICENCE)
    monkeypatch.setattr(catalogue, "ENTRIES", (*catalogue.ENTRIES, entry))
    monkeypatch.setitem(catalogue.PUBLISHED, entry.sha256, catalogue.Published(entry.file, LICENCE, True))
    monkeypatch.setitem(catalogue.SETS, "nets", ("net",))
    return entry


def models(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["models", *(str(argument) for argument in arguments)])


def row_of(name: str) -> dict[str, object]:
    rows = json.loads(models("list", "--json").stdout)["weights"]
    found: dict[str, object] = next(row for row in rows if row["name"] == name)
    return found


def test_list(folder: Path) -> None:
    result = models("list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "SIZE", "LICENCE", "PURPOSE"]
    assert len(lines) == len(catalogue.ENTRIES) + 3
    [gfpgan] = [line for line in lines if line.startswith("GFPGANv1.4")]
    assert gfpgan.split()[1:6] == ["absent", "348.6", "MB", "gfpgan-mixed", "*"]
    [general] = [line for line in lines if line.startswith("realesr-general-x4v3")]
    assert "BSD-3-Clause" in general
    assert "*" not in general
    assert str(folder) in result.stdout
    assert not folder.exists()
    assert models("accept", "gfpgan-mixed").exit_code == 0
    assert "gfpgan-mixed *" not in models("list").stdout
    assert row_of("GFPGANv1.3")["accepted"] == "remembered"


def test_a_file_from_the_first_pull_to_the_last_check(folder: Path, shop: Shop, net: Entry) -> None:
    refused = models("pull", "net")
    assert refused.exit_code == 3
    assert refused.stderr.startswith("[E_LICENCE]")
    assert f"--accept-license {LICENCE}" in refused.stderr
    assert shop.hits == []
    assert models("path", "net").exit_code == 3

    shelf = shop.answers["/net.pth"]
    assert isinstance(shelf, Shelf)
    shelf.cuts = [1_200_000]
    pulled = models("pull", "net", "--accept-license", LICENCE)
    assert pulled.exit_code == 0, pulled.stderr
    assert f"net: {folder / 'net.pth'}" in pulled.stdout
    assert "net.pth: 2.0 of 2.0 MB" in pulled.stderr
    assert (folder / "net.pth").read_bytes() == CONTENT
    assert [bool(asked) for _, asked, _ in shop.hits] == [False, True]

    assert models("path", "NET.PTH").stdout.strip() == str(folder / "net.pth")
    assert row_of("net")["state"] == "here"
    assert models("pull", "--for", "nets", "--json").exit_code == 0
    assert len(shop.hits) == 2
    assert models("verify").stdout.split() == ["ok", "net", str(folder / "net.pth")]

    at_rest(folder / "net.pth", CONTENT[:-1] + b"?")
    wrong = models("verify", "net", "--json")
    assert wrong.exit_code == 3
    assert json.loads(wrong.stdout)["weights"][0]["state"] == "wrong"
    assert row_of("net")["state"] == "wrong"
    assert "[E_WEIGHTS_HASH]" in models("path", "net").stderr
    assert models("pull", "net").exit_code == 0
    assert models("verify", "net").exit_code == 0


def test_a_wrong_file_from_the_server_is_not_kept(folder: Path, shop: Shop, net: Entry) -> None:
    shop.put("/net.pth", Shelf(CONTENT[:-1] + b"?"))
    result = models("pull", "net", "--accept-license", LICENCE, "--json")
    assert result.exit_code == 3
    [row] = json.loads(result.stdout)["weights"]
    assert row["error"]["code"] == "E_WEIGHTS_HASH"
    assert sorted(path.name for path in folder.iterdir()) == [".net.pth.lock", "licences.json", "licences.json.lock"]


def test_one_failure_does_not_stop_the_others(folder: Path, net: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    models("accept", LICENCE)
    result = models("pull", "lipsync_expert", "net", "--json")
    assert result.exit_code == 3
    assert [bool(row["error"]) for row in json.loads(result.stdout)["weights"]] == [True, False]
    monkeypatch.setenv("RAYDUB_OFFLINE", "1")
    assert models("pull", "net").exit_code == 0
    offline = models("pull", "realesr-general-x4v3")
    assert offline.exit_code == 3
    assert "[E_WEIGHTS_MISSING]" in offline.stderr
    assert "raydub models import" in offline.stderr


def test_a_half_download_is_shown(folder: Path, net: Entry) -> None:
    folder.mkdir()
    (folder / f".net.pth.{net.sha256[:12]}.partial").write_bytes(CONTENT[:500_000])
    assert row_of("net")["state"] == "25% here"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pull", "GFPGANv1.5"], "E_FIELD_VALUE", "did you mean 'GFPGANv1.4'"),
        (["pull"], "E_FIELD_MISSING", "--for"),
        (["pull", "--for", "gfpgam"], "E_FIELD_VALUE", "did you mean 'gfpgan'"),
        (["pull", "yunet", "--accept-license", "wav2lip"], "E_FIELD_VALUE", "wav2lip-noncommercial"),
        (["verify", "nothing"], "E_FIELD_VALUE", "raydub models list"),
        (["path", "../net"], "E_FIELD_VALUE", "raydub models list"),
        (["accept", "MIT"], "E_FIELD_VALUE", "needs no consent"),
        (["accept", "gfpgan"], "E_FIELD_VALUE", "did you mean 'gfpgan-mixed'"),
    ],
)
def test_usage_errors_name_the_nearest(arguments: list[str], code: str, words: str, folder: Path) -> None:
    result = models(*arguments)
    assert result.exit_code == 2, result.stdout
    assert f"[{code}]" in result.stderr
    assert words in result.stderr
    assert not folder.exists()


def test_import(folder: Path, tmp_path: Path, net: Entry) -> None:
    import numpy as np

    (tmp_path / "download").write_bytes(CONTENT)
    result = models("import", tmp_path / "download", "--as", "net")
    assert result.exit_code == 0, result.stderr
    assert f"licence {LICENCE}" in result.stdout
    save_file({"a": np.ones(5, np.float32)}, tmp_path / "mine.safetensors")
    said = json.loads(models("import", tmp_path / "mine.safetensors", "--to", "my-net", "--json").stdout)
    assert (said["name"], said["custom"], said["licence"]) == ("my-net", True, "custom")
    assert row_of("my-net")["state"] == "custom"
    assert models("path", "my-net").stdout.strip() == said["path"]
    wrong = models("import", tmp_path / "mine.safetensors", "--as", "net")
    assert wrong.exit_code == 3
    assert "[E_WEIGHTS_HASH]" in wrong.stderr
    assert models("import", tmp_path / "none.pth").exit_code == 3


def test_doctor_says_what_is_here(folder: Path, tmp_path: Path, net: Entry) -> None:
    from raydub.cluster import checks

    assert checks._weights().state == "note"
    (tmp_path / "download").write_bytes(CONTENT)
    models("import", tmp_path / "download")
    found = checks._weights()
    assert (found.state, found.found) == ("ok", f"net in {folder}")
    (folder / "net.pth").write_bytes(b"short")
    assert "not the published files: net" in checks._weights().found


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from raydub.cluster.downloads import showing

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with showing("[net].pth", 2_000_000) as show:
        assert show is not None
        show(1_000_000, 2_000_000)
        show(2_000_000, 2_000_000)
    said = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "[net].pth" in said
    assert "2.0/2.0 MB" in said


def test_the_list_is_light(tmp_path: Path) -> None:
    heavy = ("torch", "ray", "cv2", "urllib3", "av", "numpy", "pyarrow")
    code = (
        "import sys\nfrom raydub.cluster.cli import main\nsys.argv = ['raydub', 'models', 'list', '--json']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "RAYDUB_WEIGHTS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    assert json.loads(done.stdout)["weights"]


def test_a_run_fetches_what_it_names_with_the_user_looking_on(
    folder: Path, shop: Shop, net: Entry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from raydub.cluster.downloads import fetch_absent

    with pytest.raises(DependencyError) as refused:
        fetch_absent(["net"])
    assert refused.value.code == Code.LICENCE
    assert shop.hits == []
    monkeypatch.setenv("RAYDUB_ACCEPT_LICENSE", LICENCE)
    fetch_absent(["/somewhere/else.pth", "net", "net"])
    assert (folder / "net.pth").read_bytes() == CONTENT
    assert len(shop.hits) == 1
    assert "net.pth: 2.0 of 2.0 MB" in capsys.readouterr().err
