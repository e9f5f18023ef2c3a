"""Strangers, other pages of the browser, and pages that were killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raydub.cluster.ui import desk as desk_module
from raydub.cluster.ui import seen, uploads
from raydub.cluster.ui.answers import Speech, check, row_of
from raydub.cluster.ui.desk import Desk
from raydub.cluster.ui.found import left_in
from raydub.cluster.ui.gate import USER, cookies_of, is_own
from raydub.cluster.ui.rooms import SCRIPT, Room, new_secret
from raydub.cluster.ui.serve import alone
from raydub.cluster.ui.settings import UiSettings
from raydub.errors import StageError, UsageError
from raydub.pipeline.attempts import this_worker
from raydub.process import born
from tests.cluster.ui.test_ui_logic import TOKEN, Asked
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "examples" / "demo"


def test_other_ports_of_this_machine_are_other_pages(tmp_path: Path) -> None:
    settings = UiSettings(tmp_path)
    for kind, method in (("websocket", "GET"), ("http", "PUT"), ("http", "DELETE"), ("http", "POST")):
        path = "/_stcore/stream" if kind == "websocket" else "/_stcore/x"
        for origin in ("http://localhost:9999", "http://127.0.0.1:8501", "http://evil.example", "null", "",
                       "file://localhost:8501", "http://localhost"):  # fmt: skip
            asked = Asked(settings, path, kind=kind, method=method, host="localhost:8501", origin=origin)
            assert not asked.reached, (kind, method, origin)
        own = Asked(settings, path, kind=kind, method=method, host="localhost:8501", origin="http://localhost:8501")
        assert own.reached
    assert is_own("https://dub.example", "dub.example:443")  # behind a proxy with TLS
    assert is_own(None, "x")  # no browser
    assert not is_own("http://", "")


@pytest.mark.parametrize("other", ['foo={"a":1}', "a b=c", "x=\xe9,", "a[b]=1", 'x="open', "=", "", "x"])
def test_cookies_of_other_programs_do_not_hide_ours(other: str) -> None:
    secret = new_secret()
    assert cookies_of(f"{other}; {USER}_8501={secret}; {other}", 8501) == {USER: secret}


def test_every_address_of_the_page_gives_a_name(tmp_path: Path) -> None:
    assert Asked(UiSettings(tmp_path), "/index.html", host="localhost").header("set-cookie")


def test_the_address_without_the_token_is_one_address(tmp_path: Path) -> None:
    settings = UiSettings(tmp_path, host="0.0.0.0", token=TOKEN)
    for path in ("/\\evil.example", "/a\r\nset-cookie: x=y", "/ü"):
        (where,) = Asked(settings, f"{path}?token={TOKEN}", host="x").header("location")
        assert where.isascii()
        assert not set(where) & set("\\\r\n")


def test_nobody_holds_all_places_for_uploads() -> None:
    places = uploads.Uploads()
    assert [places.begin("a") for _ in range(3)] == [True, True, False]
    assert [places.begin("b") for _ in range(3)] == [True, True, False]
    assert not places.begin("c")
    places.end("a")
    assert places.begin("c")


def test_an_upload_that_stands_still_or_trickles_is_ended() -> None:
    async def silent() -> Any:
        await asyncio.sleep(60)

    async def trickle() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def ask() -> None:
        begun = time.monotonic()
        assert (await uploads.in_time(silent, 1000, 0.05)())["type"] == "http.disconnect"
        slow = uploads.in_time(trickle, 1000, 0.1)
        while (await slow())["type"] == "http.request":
            assert time.monotonic() - begun < 5

    asyncio.run(ask())


def test_uploads_that_nobody_takes_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"method": "PUT", "host": "localhost", "cookie": f"{USER}_8501={new_secret()}", "content_length": "1000"}
    for bytes_held, status in ((0, 200), (4 << 20, 503)):
        monkeypatch.setattr("raydub.cluster.ui.gate.held", lambda held=bytes_held: held)
        asked = Asked(UiSettings(tmp_path, max_upload_mb=1), "/_stcore/upload_file/a/b", **about)
        assert asked.status == status


def test_what_streamlit_holds_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = pytest.importorskip("streamlit.runtime", reason="the page needs raydub[ui]")
    from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
    from streamlit.runtime.uploaded_file_manager import UploadedFileRec

    files = MemoryUploadedFileManager("/upload")
    monkeypatch.setattr(runtime, "exists", lambda: True)
    monkeypatch.setattr(runtime.Runtime, "instance", lambda: SimpleNamespace(uploaded_file_mgr=files))
    assert uploads.held() == 0
    for session in ("a", "b"):
        files.add_file(session, UploadedFileRec(session, "x.mp4", "video/mp4", b"12345"))
    assert uploads.held() == 10


def test_a_script_cannot_name_files_of_the_server(tmp_path: Path) -> None:
    room = Room(tmp_path, new_secret())
    for voice, allowed in (("/etc/voice.onnx", False), ("../x.onnx#2", False), ("es+f3", True)):
        text = json.dumps([{"start": 0, "end": 1, "text": "hola", "voice": voice}])
        speech = Speech(room.keep("a.json", text.encode(), SCRIPT), "es")
        wrong = check(row_of(SAMPLE / "clip.mp4", speech, "", {}, "x.mp4"), tmp_path)
        assert (wrong == []) is allowed, voice


@pytest.mark.parametrize("text", [b"1\n00:00:zz --> 00:00:02,000\nHola\n", b"\0\1\2", b" "])
def test_what_is_wrong_with_a_script_is_told_before_the_run(tmp_path: Path, text: bytes) -> None:
    kept = Room(tmp_path, new_secret()).keep("a.srt", text, SCRIPT)
    (wrong,) = check(row_of(SAMPLE / "clip.mp4", Speech(kept, "es"), "", {}, "x.mp4"), tmp_path)
    assert str(tmp_path) not in wrong


def ordered(room: Room, made: float, **row: Any) -> Path:
    folder = room.new_run()
    (folder / seen.ORDER).write_text(json.dumps({"title": "t", "made": made, "row": {"output": "a.mp4", **row}}))
    return folder


def until(wanted: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_page_loses_no_run(tmp_path: Path) -> None:
    room = Room(tmp_path, new_secret())
    second, first, works, over = (ordered(room, made) for made in (2.0, 1.0, 0.0, 0.0))
    (over / seen.PROGRESS).write_text('{"event": "end", "error": {"code": "E_X"}}\n')
    room.new_run()  # without an order
    process = subprocess.Popen(["sleep", "60"])
    try:
        about = {**this_worker(), "pid": process.pid, "born": born(process.pid)}
        (works / seen.PROCESS).write_text(json.dumps(about))
        working, waiting = left_in(tmp_path)
        assert (list(working), waiting) == ([works], [first, second])
        desk = Desk(UiSettings(tmp_path))
        try:
            assert [desk.place(folder) for folder in (first, second, works)] == [0, 1, None]
            desk.stop(first)
            desk.stop(second)
            desk.stop(works)
            process.wait(10)
        finally:
            desk.close()
    finally:
        process.kill()
        process.wait()
    assert seen.see(works).state == "stopped"
    assert seen.see(first).problem()[0] == "E_INTERRUPTED"


def test_removed_runs_do_not_end_the_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(tmp_path, new_secret())
    desk = Desk(UiSettings(tmp_path, runs_at_once=0))
    try:
        gone, ended = ordered(room, 1.0), ordered(room, 2.0)
        desk.again(gone)
        room.remove_run(gone.name)  # in another tab
        object.__setattr__(desk._settings, "runs_at_once", 1)
        until(lambda: desk.place(gone) is None)
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"])
        desk._working[ended] = process
        room.remove_run(ended.name)  # as soon as it says that it has ended
        monkeypatch.setattr(desk_module, "_makes_reports", lambda: True)
        until(lambda: ended not in desk._working)
        time.sleep(0.3)
        assert desk._thread.is_alive()
        queued = ordered(room, 3.0)
        object.__setattr__(desk._settings, "runs_at_once", 0)
        desk.again(queued)
        desk.forget(queued)
        assert desk.place(queued) is None
    finally:
        desk.close()


def test_one_page_in_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path / "dubs"), pytest.raises(UsageError, match="another `raydub ui`"), alone(tmp_path / "dubs"):
        pass
    with alone(tmp_path / "dubs"):
        pass
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be used"), alone(tmp_path / "file"):
        pass


def test_a_part_of_an_upload_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(data[:1])
        raise OSError(28, "No space left on device")

    room = Room(tmp_path, new_secret())
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StageError, match="No space left"):
        room.keep("a.txt", b"hello", SCRIPT)
    assert room.files("script") == []
