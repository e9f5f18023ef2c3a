"""The page without a browser: rooms, answers, states of runs, and the gate."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.cluster.ui import rooms, seen, words
from raydub.cluster.ui.answers import Speech, check, command_of, output_name, row_of, shown_row
from raydub.cluster.ui.files import file_of, page_of
from raydub.cluster.ui.gate import PASS, USER, Gate, cookies_of, host_of
from raydub.cluster.ui.rooms import SCRIPT, SOUND, VIDEO, Kept, Room, new_id, new_secret, safe_name
from raydub.cluster.ui.settings import UiSettings, current, is_loopback, use
from raydub.errors import InputError, RaydubError, StageError, UsageError
from raydub.manifests.options import Options, choices
from tests.conftest import REPOSITORY

TOKEN = "a-token-of-some-length"


@given(st.text(max_size=300))
def test_no_name_leads_out_of_its_folder(text: str) -> None:
    try:
        name = safe_name(text + ".mp4", VIDEO)
    except InputError:
        return
    assert name == os.path.basename(name)
    assert name not in (".", "..", ".mp4")
    assert len(os.fsencode(name)) <= 100
    assert name.isprintable()
    assert "/" not in name
    assert "\\" not in name
    assert "\0" not in name


def test_names_of_uploads() -> None:
    assert safe_name("C:\\Users\\me\\talk.MP4", VIDEO) == "talk.mp4"
    assert safe_name("../../etc/passwd.mp4", VIDEO) == "passwd.mp4"
    assert safe_name("Gespräch (1).mov", VIDEO) == "Gespräch _1.mov"
    assert safe_name("...mp4", VIDEO) == "file.mp4"
    for wrong in ("talk.exe", "talk", ".mp4.sh", ""):
        with pytest.raises(InputError):
            safe_name(wrong, VIDEO)


def test_two_users_have_nothing_in_common(tmp_path: Path) -> None:
    mine, other = Room(tmp_path, new_secret()), Room(tmp_path, new_secret())
    one, two = mine.keep("a.mp4", b"1", VIDEO), mine.keep("a.mp4", b"2", VIDEO)
    theirs = other.keep("a.mp4", b"3", VIDEO)
    assert len({one.path, two.path, theirs.path}) == 3
    assert [kept.path.read_bytes() for kept in (one, two, theirs)] == [b"1", b"2", b"3"]
    assert {kept.id for kept in mine.files("video")} == {one.id, two.id}
    assert mine.files("sound") == []
    run = mine.new_run()
    assert mine.run(run.name) == run
    with pytest.raises(UsageError):
        other.run(run.name)
    with pytest.raises(UsageError):
        other.file(one.id)
    for folder in (tmp_path / "rooms", mine.path, run):
        assert folder.stat().st_mode & 0o077 == 0
    mine.remove_run(run.name)
    assert not run.exists()


@pytest.mark.parametrize("wrong", ["", "x", "../../x", "a" * 42, "a" * 44, "a" * 42 + "/"])
def test_a_cookie_that_nobody_gave_is_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(UsageError):
        Room(tmp_path, wrong)


@pytest.mark.parametrize("wrong", ["..", "../files", "", "x" * 24, "A" * 24, f"{'0' * 24}/..", "0" * 23])
def test_ids_of_runs_are_no_paths(tmp_path: Path, wrong: str) -> None:
    room = Room(tmp_path, new_secret())
    room.new_run()
    with pytest.raises(UsageError):
        room.run(wrong)


def test_a_full_disk_is_told_before_anything_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1 << 20))  # type: ignore[attr-defined]
    room = Room(tmp_path, new_secret())
    with pytest.raises(StageError, match="would not fit"):
        room.keep("a.mp4", b"1", VIDEO)
    assert room.files("video") == []
    with pytest.raises(InputError, match="empty"):
        room.keep("a.mp4", b"", VIDEO)


def test_questions_cover_their_fields_in_words() -> None:
    for one in words.asked():
        assert one.name in Options.model_fields
        assert one.group in words.GROUPS
        assert "_" not in one.label
        known = choices(one.name)
        if known and one.words:
            assert set(one.words) <= set(known)
            assert one.default in one.words
        assert f"`{one.name}`" in one.more
    masking = next(one for one in words.asked() if one.name == "masking")
    assert set(masking.words) == set(choices("masking"))
    assert (words.lasting(3), words.lasting(47), words.lasting(75)) == (
        "a few seconds",
        "about 45 s",
        "about 1 min 15 s",
    )
    assert words.lasting(4000) == "about 1 h 7 min"
    assert (words.share_words(0.999), words.share_words(1.0), words.share_words(None)) == ("99 %", "100 %", "0 %")


def sample(name: str) -> Path:
    return REPOSITORY / "examples" / "demo" / name


def test_answers_become_a_row_that_runs(tmp_path: Path) -> None:
    speech = Speech(Kept("", sample("lines_es.srt"), "script"), " es ", "", "")
    answers = {"masking": "always", "crf": 18, "bed": "duck", "no_face": "keep", "commercial": True}
    row = row_of(sample("clip.mp4"), speech, "all", answers, output_name(sample("clip.mp4"), speech))
    assert row == {
        "id": "clip.es", "video": str(sample("clip.mp4")), "script": str(sample("lines_es.srt")), "language": "es",
        "output": "clip.es.mp4", "face": "all", "masking": "always", "bed": "duck", "commercial": True,
    }  # fmt: skip
    assert check(row, tmp_path) == []
    assert shown_row(row)["video"] == "clip.mp4"
    command = command_of(shown_row(row), ["--no-ray"])
    assert command.startswith("raydub dub --video clip.mp4 --script lines_es.srt")
    assert "--commercial" in command
    wrong = check({**row, "masking": "sometimes"}, tmp_path)
    assert len(wrong) == 1
    assert wrong[0].startswith("Which frames get a new mouth: ")


@pytest.mark.parametrize("voice", ["/etc/passwd", "../x", "x.onnx", "a\\b"])
def test_a_voice_is_no_file_of_the_server(voice: str) -> None:
    speech = Speech(Kept("", sample("lines_es.srt"), "script"), "es", voice)
    with pytest.raises(UsageError):
        row_of(sample("clip.mp4"), speech, "", {}, "x.mp4")


def run_in(room: Room, **files: Any) -> Path:
    folder = room.new_run()
    order = {"title": "A talk", "made": 5.0, "row": {"output": "a.mp4", "video": str(sample("clip.mp4"))}}
    (folder / seen.ORDER).write_text(json.dumps(order))
    (folder / seen.OUT).mkdir()
    for name, content in files.items():
        (folder / f"{name.replace('_', '.')}").write_text(content)
    return folder


def test_states_of_a_run_come_from_its_files(tmp_path: Path) -> None:
    room = Room(tmp_path, new_secret())
    assert seen.see(run_in(room)).state == "waiting"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    from raydub.pipeline.attempts import this_worker

    mine = json.dumps(this_worker())
    dead = json.dumps({**this_worker(), "pid": gone.pid})
    progress = '{"event": "start"}\n{"event": "progress", "share": 0.4}\n{"event": "progress", "share": 0.5}\n{"ev'
    working = seen.see(run_in(room, process_json=mine, progress_jsonl=progress))
    assert (working.state, working.now["share"], working.is_over) == ("working", 0.5, False)
    assert seen.see(run_in(room, process_json=dead, progress_jsonl=progress)).state == "stopped"
    finished = {"event": "finished", "status": "failed", "error_code": "E_X", "error_message": "no", "hint": "why"}
    lines = f'{json.dumps(finished)}\n{{"event": "end", "counts": {{"ok": 0}}, "error": null}}\n'
    failed = seen.see(run_in(room, process_json=dead, progress_jsonl=lines))
    assert (failed.state, failed.problem()) == ("failed", ("E_X", "no", "why"))
    done = '{"event": "end", "counts": {"ok": 1}}\n'
    folder = run_in(room, process_json=dead, progress_jsonl=done)
    assert seen.see(folder).state == "failed"  # the output was moved
    (folder / seen.OUT / "a.mp4").write_bytes(b"x")
    assert (seen.see(folder).state, seen.see(folder).output) == ("ok", folder / seen.OUT / "a.mp4")
    assert seen.see(run_in(room, progress_jsonl="\0\xff[]\n7\n")).state == "waiting"


def test_only_files_of_ones_own_runs_are_served(tmp_path: Path) -> None:
    settings, secret = UiSettings(tmp_path), new_secret()
    room = Room(tmp_path, secret)
    folder = run_in(room, progress_jsonl='{"event": "end", "counts": {"ok": 1}}\n')
    (folder / seen.OUT / "a.mp4").write_bytes(b"x")
    assert file_of(settings, secret, folder.name, "a.mp4") == folder / seen.OUT / "a.mp4"
    assert file_of(settings, secret, folder.name, "clip.mp4") == sample("clip.mp4")
    for name in ("order.json", "../order.json", "log.txt", "", "/etc/passwd"):
        assert file_of(settings, secret, folder.name, name) is None
    (portrait := tmp_path / "face-2.png").write_bytes(b"x")
    row = {"output": "a.mp4", "video": str(sample("clip.mp4")), "face": f"reference:{portrait}"}
    (folder / seen.ORDER).write_text(json.dumps({"title": "A talk", "made": 5.0, "row": row}))
    assert file_of(settings, secret, folder.name, "face-2.png") == portrait
    assert file_of(settings, new_secret(), folder.name, "a.mp4") is None
    assert file_of(settings, "", folder.name, "a.mp4") is None
    (folder / seen.REPORT).mkdir()
    (folder / seen.REPORT / "report.html").write_text("x")
    (folder / seen.REPORT / "out.html").symlink_to(folder / seen.ORDER)
    assert page_of(settings, secret, folder.name, "report.html") is not None
    for name in ("../order.json", "out.html", "", ".", "/etc/passwd"):
        assert page_of(settings, secret, folder.name, name) is None
    assert page_of(settings, new_secret(), folder.name, "report.html") is None


class Asked:
    """One request to a gate before an app that says yes."""

    def __init__(self, settings: UiSettings, path: str = "/", kind: str = "http", method: str = "GET", **headers: str):
        self.reached = False
        self.sent: list[Any] = []
        path, _, query = path.partition("?")
        scope = {
            "type": kind,
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.reached = True
            kind = b"text/javascript" if scope["path"].endswith(".js") else b"text/html; charset=utf-8"
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})

        async def send(message: Any) -> None:
            self.sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        asyncio.run(Gate(app, settings)(scope, receive, send))

    @property
    def status(self) -> int:
        return int(self.sent[0].get("status", self.sent[0].get("code", 0)))

    def header(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.sent[0].get("headers", ()) if key == name.encode()]


def test_without_the_token_nothing_is_reached(tmp_path: Path) -> None:
    settings = UiSettings(tmp_path, host="0.0.0.0", token=TOKEN)
    for path in ("/", "/?token=", f"/?token={TOKEN[:-1]}", f"/?token={TOKEN}x", "/_stcore/health", "/_stcore/metrics",
                 "/_stcore/upload_file/a/b", "/media/x.mp4", "/static/index.js", "/raydub/file/a/b"):  # fmt: skip
        for method in ("GET", "PUT", "OPTIONS", "HEAD"):
            asked = Asked(settings, path, method=method, host="x")
            assert (asked.status, asked.reached) == (403, False), (path, method)
            assert not asked.header("set-cookie")
    for path in ("/_stcore/stream", f"/_stcore/stream?token={TOKEN}"):  # the browser sends the cookie there
        asked = Asked(settings, path, kind="websocket", host="x")
        assert (asked.sent[0]["type"], asked.status, asked.reached) == ("websocket.close", 1008, False)
    wrong = Asked(settings, "/", host="x", cookie=f"{PASS}_8501={'0' * 64}")
    assert (wrong.status, wrong.reached) == (403, False)


def test_the_token_is_given_once_and_leaves_the_address(tmp_path: Path) -> None:
    settings = UiSettings(tmp_path, host="0.0.0.0", token=TOKEN)
    first = Asked(settings, f"/?token={TOKEN}&run=abc", host="x")
    assert (first.status, first.reached, first.header("location")) == (303, False, ["/?run=abc"])
    cookie = first.header("set-cookie")[0]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    given = cookie.partition(";")[0]
    second = Asked(settings, "/", host="x", cookie=given)
    assert (second.status, second.reached) == (200, True)
    assert USER in second.header("set-cookie")[0]
    assert Asked(settings, "/_stcore/stream", kind="websocket", host="x", cookie=given).reached
    assert Asked(settings, f"//evil.example/?token={TOKEN}", host="x").header("location") == ["/evil.example/"]
    other = UiSettings(tmp_path, host="0.0.0.0", token=TOKEN + "2")
    assert Asked(other, "/", host="x", cookie=given).status == 403


def test_on_loopback_other_names_are_refused(tmp_path: Path) -> None:
    settings = UiSettings(tmp_path)
    for host in ("localhost:8501", "127.0.0.1:8501", "[::1]:8501", "localhost", "127.0.0.5"):
        assert Asked(settings, "/", host=host).status == 200
    for host in ("evil.example", "evil.example:8501", "", "localhost.evil.example:8501", "10.0.0.1:8501"):
        assert (Asked(settings, "/", host=host).status, Asked(settings, "/", host=host).reached) == (421, False)


def test_a_user_gets_one_cookie_with_the_page_only(tmp_path: Path) -> None:
    settings = UiSettings(tmp_path)
    first = Asked(settings, "/", host="localhost").header("set-cookie")[0]
    secret = cookies_of(first.partition(";")[0], 8501)[USER]
    assert rooms.is_secret(secret)
    assert not Asked(settings, "/static/x.js", host="localhost").header("set-cookie")
    assert not Asked(settings, "/", host="localhost", cookie=f"{USER}_8501={secret}").header("set-cookie")
    assert cookies_of(f"{USER}_8502={secret}", 8501) == {}  # of another page on this machine


def test_uploads_are_bounded_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, secret = UiSettings(tmp_path, max_upload_mb=1), new_secret()
    about = {"method": "PUT", "host": "localhost", "cookie": f"{USER}_8501={secret}"}
    path = "/_stcore/upload_file/session/file"
    assert Asked(settings, path, **about, content_length="1000").reached
    assert Asked(settings, path, **about, content_length=str(2 << 20)).status == 413
    assert Asked(settings, path, **about, content_length=str(20 << 30)).status == 413
    for length in ({}, {"content_length": "-5"}, {"content_length": "many"},
                   {"content_length": "10", "transfer_encoding": "chunked"}):  # fmt: skip
        assert Asked(settings, path, **about, **length).status == 411
    assert Asked(settings, path, method="PUT", host="localhost", content_length="10").status == 403
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1 << 20))  # type: ignore[attr-defined]
    full = Asked(settings, path, **about, content_length="1000")
    assert (full.status, full.reached) == (507, False)


def test_hosts_and_settings(tmp_path: Path) -> None:
    assert [host_of(text) for text in ("a:1", "a", "[::1]:2", "")] == ["a", "a", "::1", ""]
    assert [is_loopback(host) for host in ("localhost", "127.0.0.9", "::1", "0.0.0.0", "10.0.0.1", "name")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    settings = UiSettings(tmp_path, address="head:6379", workers=3, device="cuda")
    assert settings.flags() == ["--address", "head:6379", "--workers", "3", "--device", "cuda"]
    assert UiSettings(tmp_path).flags() == ["--no-ray", "--device", "auto"]
    use(settings)
    assert current() is settings


def test_a_file_that_is_no_video_has_a_reason(tmp_path: Path) -> None:
    from raydub.cluster.ui.looking import look

    bad = tmp_path / "talk.mp4"
    bad.write_bytes(b"no video at all" * 100)
    with pytest.raises(RaydubError) as wrong:
        look(bad, "video", tmp_path / "first.jpg")
    assert str(tmp_path) not in wrong.value.message
    picture = tmp_path / "first.jpg"
    found = look(sample("clip.mp4"), "video", picture)
    assert (found.width, found.height) == (640, 640)
    assert picture.stat().st_size > 1000
    assert "640 × 640" in found.words()
    assert look(sample("speech_es.flac"), "sound").seconds > 5


def test_kinds_do_not_overlap() -> None:
    assert not VIDEO & SOUND
    assert not SCRIPT & (VIDEO | SOUND)
    assert rooms.is_id(new_id())
