"""Voices are two files: an entry of the catalogue, or a file of the user's own, and its companion."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from raydub.errors import Code, DependencyError, UsageError
from raydub.models import catalogue
from raydub.models.catalogue import ENTRIES, Entry, by_digest, custom_entries, find, licence_of
from raydub.models.store.importing import import_file
from raydub.models.store.locate import locate, present
from raydub.models.store.pull import pull
from raydub.models.store.seen import look
from tests.models.weights_server import QUICK, Shelf, entry_for, open_shop, own_folder, weights

CONTENT, CONFIG = weights(50_000), b'{"audio": {"sample_rate": 22050}}'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_folder(tmp_path, monkeypatch)


def voice(monkeypatch: pytest.MonkeyPatch, *urls: str) -> Entry:
    config = replace(entry_for(CONFIG, *urls[1:], name="v.onnx.json"), file="v.onnx.json")
    entry = replace(entry_for(CONTENT, *urls[:1], name="v"), file="v.onnx", companions=(config,))
    monkeypatch.setattr(catalogue, "ENTRIES", (*ENTRIES, entry))
    return entry


def test_companions_of_the_catalogue() -> None:
    with_companions = [entry for entry in ENTRIES if entry.companions]
    assert len(with_companions) == 9
    words = {entry.file.casefold() for entry in ENTRIES}
    for entry in with_companions:
        [companion] = entry.companions
        assert re.fullmatch("[0-9a-f]{64}", companion.sha256)
        assert 4000 < companion.size < 30_000_000
        assert companion.licence == entry.licence
        assert all(url.startswith("https://") and url.endswith(companion.file) for url in companion.urls)
        assert companion.file.casefold() not in words
        words.add(companion.file.casefold())
        assert by_digest(companion.sha256) == companion
        if entry.name != "kokoro-v1.0":
            assert companion.file == f"{entry.file}.json"
            assert re.fullmatch(r"[a-z]{2}_[A-Z]{2}-\w+-(medium|high)", entry.name)
            assert all(f"/{entry.name[:2]}/{entry.name[:5]}/" in url for url in (*entry.urls, *companion.urls))
    lessac = find("en_US-lessac-medium")
    assert lessac is not None
    for digest in (lessac.sha256, lessac.companions[0].sha256):
        with pytest.raises(DependencyError) as caught:
            licence_of(digest)
        assert caught.value.code == Code.LICENCE


def test_pull_brings_both_and_completes_what_is_half_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_shop() as shop:
        entry = voice(monkeypatch, shop.put("/v.onnx", Shelf(CONTENT)), shop.put("/v.onnx.json", Shelf(CONFIG)))
        assert look(entry) == "absent"
        assert pull(entry, patience=QUICK) == folder / "v.onnx"
        assert (folder / "v.onnx.json").read_bytes() == CONFIG
        assert look(entry) == "here"
        (folder / "v.onnx.json").unlink()
        assert look(entry) == "incomplete"
        assert present(entry) == folder / "v.onnx"
        shop.hits.clear()
        assert locate("v").sha256 == entry.sha256
        assert [hit[0] for hit in shop.hits] == ["/v.onnx.json"]
        assert look(entry) == "here"
        (folder / "v.onnx.json").write_bytes(CONFIG + b" ")
        assert look(entry) == "incomplete"
        with pytest.raises(DependencyError) as caught:
            locate("v")
        assert caught.value.code == Code.WEIGHTS_HASH


def test_nothing_is_seen_before_all_is_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_shop() as shop:
        entry = voice(monkeypatch, shop.put("/v.onnx", Shelf(CONTENT)), shop.put("/v.onnx.json", Shelf(b"{}")))
        with pytest.raises(DependencyError):
            pull(entry, patience=QUICK)
        assert not (folder / "v.onnx").exists()


def test_import_of_a_published_voice(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = voice(monkeypatch)
    source = tmp_path / "v.onnx"
    source.write_bytes(CONTENT)
    assert import_file(source)[0] == entry
    assert look(entry) == "incomplete"
    beside = tmp_path / "v.onnx.json"
    beside.write_bytes(b"something else")
    with pytest.raises(DependencyError):
        import_file(source)
    beside.write_bytes(CONFIG)
    import_file(source)
    assert look(entry) == "here"
    (folder / "v.onnx.json").unlink()
    assert import_file(beside)[1] == folder / "v.onnx.json"
    assert look(entry) == "here"


def test_import_of_an_own_voice(folder: Path, tmp_path: Path) -> None:
    source, beside = tmp_path / "my voice.onnx", tmp_path / "my voice.onnx.json"
    source.write_bytes(b"\x08\x07graph")
    with pytest.raises(DependencyError) as caught:
        import_file(source, to_name="mine")
    assert caught.value.code == Code.WEIGHTS_REFUSED
    beside.write_bytes(CONFIG)
    entry, place = import_file(source, to_name="mine")
    assert place == folder / "mine.onnx"
    assert custom_entries() == [entry] == [find("mine")]
    assert entry.companions[0].sha256 == hashlib.sha256(CONFIG).hexdigest()
    assert look(entry) == "custom"
    assert locate("mine").licence == "custom"
    # Again with another configuration: both are exchanged.
    beside.write_bytes(CONFIG + b"\n")
    again, _ = import_file(source, to_name="mine")
    assert again.companions[0].sha256 == hashlib.sha256(CONFIG + b"\n").hexdigest()
    assert look(again) == "custom"
    assert (folder / "mine.onnx.json").read_bytes() == CONFIG + b"\n"
    (folder / "mine.onnx.json").unlink()
    assert look(again) == "incomplete"
    with pytest.raises(DependencyError) as caught:
        locate("mine")
    assert caught.value.code == Code.WEIGHTS_MISSING
    for damaged in (b"", b"<html>"):
        beside.write_bytes(damaged)
        with pytest.raises(DependencyError) as caught:
            import_file(source, to_name="mine")
        assert caught.value.code == Code.WEIGHTS_REFUSED


@pytest.mark.parametrize("name", ["vo.onnx", "vo.onnx.json"])
def test_a_voice_is_not_imported_over_files_put_there_by_hand(folder: Path, tmp_path: Path, name: str) -> None:
    source = tmp_path / "cust.onnx"
    source.write_bytes(CONTENT)
    source.with_name("cust.onnx.json").write_bytes(CONFIG)
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name} already exists") as refused:
        import_file(source, to_name="vo")
    assert refused.value.code is Code.OUTPUT_EXISTS
    assert (folder / name).read_text() == "mine"
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == [name]
    # what an import that was killed half way left behind is the same as what it would bring
    (folder / name).write_bytes(CONFIG if name.endswith(".json") else CONTENT)
    entry, _ = import_file(source, to_name="vo")
    assert find("vo") == entry
    source.with_name("cust.onnx.json").write_bytes(CONFIG + b" ")
    import_file(source, to_name="vo")
    assert (folder / "vo.onnx.json").read_bytes() == CONFIG + b" "
