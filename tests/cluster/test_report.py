"""`raydub report`: the pages of a run, hostile names, and what it says where something is missing."""

from __future__ import annotations

import errno
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
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.cluster.report import pages
from raydub.cluster.report.gather import gather, read_rows
from raydub.cluster.report.index import table_of
from raydub.cluster.report.maker import _answer
from raydub.cluster.report.orders import Order
from raydub.cluster.report.texts import bytes_of_name, for_script, shown
from raydub.cluster.report.write import listed
from raydub.errors import EXIT_DEPENDENCY, EXIT_OK, EXIT_USAGE
from raydub.texts import escaped
from tests.cluster.pages import Page, read_page
from tests.cluster.report_runs import dubbed, failed, results_of
from tests.evaluations import run_of

pytest.importorskip("plotly")

HOSTILE = "</script><script>window.hacked=1</script>\"'><img src=x onerror=alert(1)>&amp; \u202egnp.exe"


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Media are made here, because a child takes seconds to start; test_report_media.py has one."""

    def ask(self: object, order: Order, out: str) -> dict[str, Any]:
        return _answer({"what": order.what, "said": dict(order.said), "out": out})

    monkeypatch.setattr("raydub.cluster.report.media.Maker.ask", ask)


def made(*arguments: object) -> Path:
    """The first page of a report that must succeed."""
    said = invoke(*arguments, "--json")
    assert said.exit_code == EXIT_OK, said.stderr
    return Path(json.loads(said.stdout)["file"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two videos that are there and three that failed, two of them alike."""
    folder = tmp_path_factory.mktemp("run")
    rows = [
        dubbed(folder, "first", consent="A. Person, 2026-17", marks=("xmp",)),
        failed("gone"),
        dubbed(folder, "second", evaluated=False, warnings=("W_EXTENDED: 20 frames were extended",)),
        failed("lost"),
        failed("odd", "E_FIELD_VALUE", hint="expected whole number 0 to 51"),
    ]
    return results_of(folder, *rows)


@pytest.fixture
def folder(run: Path) -> Path:
    return made(run, "-o", run.parent / "report").parent


def words(page: Page) -> str:
    return " ".join(page.all("main")[0].text.split())


def test_the_first_page(folder: Path) -> None:
    page = read_page(folder / "index.html")
    text = words(page)
    assert "Videos 5 2 ok3 failed" in text
    assert "Work 16 s" in text  # two videos of 8 s: the parts of a stage are in it
    head = text[text.index("Not finished") : text.index("Find")]
    assert head.index("E_INPUT_MISSING") < head.index("E_FIELD_VALUE")  # the frequent one first
    assert "2 videos" in head
    assert "gone line 2 video gone.mp4 does not exist" in head
    assert "expected whole number 0 to 51" in head
    table = page.data("table-data")
    assert [row["cells"][0] for row in table["rows"]] == ["first", "gone", "second", "lost", "odd"]
    assert table["rows"][0]["href"] == "video-0001.html"
    columns = [column["key"] for column in table["columns"]]
    for row in table["rows"]:
        assert len(row["cells"]) == len(columns)
    first = dict(zip(columns, table["rows"][0]["cells"], strict=True))
    assert (first["verdict"], first["status"], first["seconds"], first["work"]) == ("look", "ok", 2.0, 8.0)
    assert first["f:delay_ms"] == 70.0
    assert first["made"] == 50.0
    gone = dict(zip(columns, table["rows"][1]["cells"], strict=True))
    assert gone["f:delay_ms"] is None
    assert gone["code"] == "E_INPUT_MISSING"


def test_the_page_of_a_video(folder: Path) -> None:
    page = read_page(folder / "video-0001.html")
    text = words(page)
    for said in ("the mouth is 70 ms late", "A. Person, 2026-17", "xmp", "limit 60", "Worst moments", "Source above"):
        assert said in text, said
    (player,) = page.all("section", class_="player")
    assert player.attributes["data-frames"] == "50"
    for name in ("data-before", "data-after"):
        assert (folder / player.attributes[name]).is_file()
    assert player.attributes["data-before"] != player.attributes["data-after"]
    plots = page.data("plot-data")
    assert len(plots["curves"]["drawn"]) == len(plots["curves"]["speech_db"]) == 50
    assert [cue[2] for cue in plots["cues"]] == ["line 1", "line 2"]
    assert len(page.all("button", class_="seek")) >= 8


def test_a_video_without_an_evaluation_has_gate_and_cues(folder: Path) -> None:
    page = read_page(folder / "video-0003.html")
    gate = page.data("plot-data")["curves"]["gate"]
    assert gate == [0.0] * 5 + [1.0] * 20 + [0.0] * 25
    assert "Spread evenly" in words(page)
    assert "W_EXTENDED 20 frames were extended" in words(page)


def test_the_page_of_a_failed_job(folder: Path) -> None:
    text = words(read_page(folder / "video-0002.html"))
    assert "E_INPUT_MISSING video gone.mp4 does not exist" in text
    assert "check the path" in text


def test_pages_load_nothing_from_elsewhere(folder: Path) -> None:
    for path in folder.glob("*.html"):
        page = read_page(path)
        (policy,) = [one for one in page.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy"]
        said = policy.attributes["content"]
        assert said.startswith("default-src 'none'; connect-src 'none'")
        assert "http" not in said
        for one in page.elements:
            for name in ("src", "href", "data-before", "data-after"):
                address = one.attributes.get(name, "")
                assert "//" not in address, address
                target = address.partition("#")[0]
                assert not target or (folder / target).exists(), address
            assert not any(name.startswith("on") for name in one.attributes), one
        code = [one for one in page.all("script") if one.attributes.get("type") != "application/json"]
        assert [one.attributes.get("src") for one in code] == ["assets/report.js"]


def test_every_control_and_plot_has_a_name(folder: Path) -> None:
    for path in folder.glob("*.html"):
        page = read_page(path)
        for one in [*page.all("button"), *page.all("section")]:
            named = one.text.strip() or one.attributes.get("aria-label") or one.attributes.get("aria-labelledby")
            assert named or "rest" in one.attributes.get("class", ""), one
        ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
        assert len(ids) == len(set(ids))
        for one in page.elements:
            if "aria-labelledby" in one.attributes:
                assert one.attributes["aria-labelledby"] in ids
        assert all(one.attributes.get("scope") for one in page.all("th"))


def test_one_file_has_everything(run: Path) -> None:
    path = made(run, "-o", run.parent / "all.html")
    page = read_page(path)
    assert [one.attributes["id"] for one in page.all("main")] == ["all", *(f"video-{n}" for n in range(1, 6))]
    blobs = {f"#{one.attributes['id']}" for one in page.all("script", class_="blob")}
    players = page.all("section", class_="player")
    assert len(players) == 2
    assert {one.attributes[name] for one in players for name in ("data-before", "data-after")} <= blobs
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for one in page.elements:
        assert not one.attributes.get("src")
    links = {one.attributes["href"] for one in page.all("a")}
    assert all(link.startswith("#") for link in links)
    assert {row["href"][1:] for row in page.data("table-data")["rows"]} <= set(ids)
    # The policy allows the two scripts by their content.
    (policy,) = [one.attributes["content"] for one in page.all("meta") if "http-equiv" in one.attributes]
    scripts = [one.text for one in page.all("script") if not one.attributes] + [
        one.text for one in page.all("script", id="plotly-source")
    ]
    assert len(scripts) == 2
    assert all(f"'sha256-{pages._digest(text)}'" in policy for text in scripts)


def test_a_second_report_uses_the_previews_of_the_first(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(run, "-o", run.parent / "again")

    def never(*_: object) -> None:
        raise AssertionError("a preview was made again")

    monkeypatch.setattr("raydub.cluster.report.media.Maker.ask", never)
    made(run, "-o", run.parent / "again-2")
    names = [sorted(path.name for path in (run.parent / name / "media").iterdir()) for name in ("again", "again-2")]
    assert names[0] == names[1]
    assert len(names[0]) == 4  # two films and two strips: both videos have the same frames


def test_a_folder_is_replaced_as_a_whole_and_only_ours(run: Path, tmp_path: Path) -> None:
    goal = tmp_path / "report"
    made(run, "-o", goal)
    assert (goal / "video-0005.html").exists()
    few = results_of(tmp_path, *read_rows(run)[:2])
    (goal / "notes.txt").write_text("mine")
    made(few, "-o", goal)
    assert sorted(path.name for path in goal.glob("*.html")) == ["index.html", "video-0001.html", "video-0002.html"]
    assert (goal / "notes.txt").read_text() == "mine"
    on_disk = {str(path.relative_to(goal)) for path in goal.rglob("*") if path.is_file()}
    assert on_disk == {*listed(goal), "notes.txt"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "index.html").write_text("mine")
    said = invoke(few, "-o", other)
    assert (said.exit_code, "E_OUTPUT_EXISTS" in said.stderr) == (EXIT_USAGE, True)
    assert (other / "index.html").read_text() == "mine"


def test_a_default_name_never_replaces_a_file_of_the_user(run: Path, tmp_path: Path) -> None:
    few = results_of(tmp_path, *read_rows(run)[1:2])
    (tmp_path / "jobs.report.html").write_text("mine")
    assert "E_OUTPUT_EXISTS" in invoke(few).stderr
    (tmp_path / "jobs.report.html").unlink()
    first = made(few)
    assert first.name == "jobs.report.html"
    assert made(few) == first
    assert invoke(few, "-o", few).exit_code == EXIT_USAGE
    assert read_rows(few)


def test_an_own_page_of_the_user_is_never_replaced(run: Path, tmp_path: Path) -> None:
    mine, link = tmp_path / "notes.html", tmp_path / "link.html"
    mine.write_text("<p>mine</p>")
    link.symlink_to(mine)
    for goal in (mine, link):
        said = invoke(run, "--no-media", "-o", goal)
        assert said.exit_code == EXIT_USAGE
        assert "E_OUTPUT_EXISTS" in said.stderr
    assert mine.read_text() == "<p>mine</p>"
    assert link.is_symlink()


@pytest.mark.parametrize("command", ["report", "faces", "cast"])
@pytest.mark.parametrize("goal", ["s3://films/report", "https://host/report"])
def test_an_address_does_not_become_a_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, goal: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, [command, "in", "-o", goal])
    assert said.exit_code == EXIT_USAGE
    assert "address" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_list_from_elsewhere_removes_no_files(run: Path, tmp_path: Path) -> None:
    """A folder with a report may come from anybody, and so may its list."""
    folder, outside = tmp_path / "report", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "media").symlink_to(outside)
    kept = [folder / "thesis.txt", outside / "thesis.txt", folder / "video-1.html"]
    for path in kept:
        path.write_text("mine")
    old = [folder / "video-0009.html", outside / f"{'a' * 24}.mp4"]
    for path in old:
        path.write_text("old")
    names = ["thesis.txt", "media/thesis.txt", "video-1.html", "video-0009.html", f"media/{'a' * 24}.mp4", "../x", "."]
    (folder / "raydub-report.json").write_text(json.dumps({"report": 1, "files": names}))
    made(run, "--no-media", "-o", folder)
    assert [path.read_text() for path in kept] == ["mine"] * 3
    assert not any(path.exists() for path in old)


def test_what_a_killed_report_left_is_removed(run: Path, tmp_path: Path) -> None:
    folder = made(run, "-o", tmp_path / "r").parent
    dead = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from raydub.files import temp_beside; print(temp_beside({str(folder / 'media' / 'x')!r}))",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    temp, unlisted, mine = Path(dead.stdout.strip()), folder / "media" / f"{'a' * 24}.jpg", folder / "media" / "my.jpg"
    for path in (temp, unlisted, mine):
        path.write_text("left")
    made(run, "-o", folder)
    assert [path.exists() for path in (temp, unlisted, mine)] == [False, False, True]


def test_a_disk_that_is_full_leaves_a_report_that_can_be_made_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copyfile(source: str, goal: str) -> None:
        Path(goal).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", copyfile)
        said = invoke(run, "-o", tmp_path / "r")
    assert "E_DISK_FULL" in said.stderr
    assert not list((tmp_path / "r" / "media").iterdir())
    assert made(run, "-o", tmp_path / "r").is_file()


def test_every_file_of_a_report_is_in_its_list(folder: Path) -> None:
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == set(listed(folder))


@pytest.mark.parametrize(
    "changed", [{"job_dir": "x"}, {"job_dir": "/"}, {"output": "a\0b"}, {"frames": -4}, {"wall_seconds": 1e300}]
)
def test_rows_that_no_run_writes_are_shown(tmp_path: Path, changed: dict[str, Any]) -> None:
    run = results_of(tmp_path, dubbed(tmp_path))
    run.write_text(json.dumps({**json.loads(run.read_text()), **changed}) + "\n")
    assert len(read_page(made(run, "-o", tmp_path / "r")).data("table-data")["rows"]) == 1


@pytest.mark.parametrize("cleaned", [False, True])
@pytest.mark.parametrize(
    "changed",
    [
        {"frames": 0, "duration": 0.0, "curves": None, "segments": [], "worst": []},  # of an output that cannot be read
        {"frames": 0},
        {"frames": -3, "duration": -1.0},
        {"reasons": [{"figure": "r", "value": 0, "limit": 1, "verdict": "bad", "message": "m", "start": 1e308}]},
        {"segments": [{"start": -2.5, "stop": 1e300, "figures": {}}]},
    ],
)
def test_odd_numbers_in_evaluations_are_shown(tmp_path: Path, changed: dict[str, Any], cleaned: bool) -> None:
    run = results_of(tmp_path, dubbed(tmp_path))
    if cleaned:
        shutil.rmtree(tmp_path / ".raydub", ignore_errors=True)
        run.write_text(json.dumps({**json.loads(run.read_text()), "job_dir": None}) + "\n")
    path = tmp_path / "job.evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    page = read_page(made(run, "-o", tmp_path / "r").parent / "video-0001.html")
    assert "is damaged" not in words(page)


def test_delays_of_a_long_film_are_joined(tmp_path: Path) -> None:
    run, path = results_of(tmp_path, dubbed(tmp_path)), tmp_path / "job.evaluation.json"
    said = json.loads(path.read_text())
    said["curves"] |= {"delay_ms": [10.0, None, 30.0, 50.0] * 1500, "delay_step": 2.0}
    path.write_text(json.dumps(said))
    data = read_page(made(run, "-o", tmp_path / "r").parent / "video-0001.html").data("plot-data")
    assert data["delay_step"] == 6.0
    assert data["delay_ms"][:3] == [20.0, 30.0, 30.0]
    assert len(data["delay_ms"]) == 2000


def test_curves_are_not_kept_for_all_videos_at_once(tmp_path: Path) -> None:
    """They are as long as the films; the page reads them again."""
    run = results_of(tmp_path, dubbed(tmp_path), dubbed(tmp_path, "other"))
    first, second = gather(read_rows(run), run, None, read=False)
    assert first.evaluation is not None
    assert first.evaluation.curves is None
    assert first.levels
    curves = first.curves()
    assert curves is not None
    assert len(curves.drawn) == 50
    shutil.copyfile(tmp_path / "other.evaluation.json", tmp_path / "job.evaluation.json")
    (tmp_path / "other.evaluation.json").unlink()
    assert first.curves() is None
    assert second.curves() is None


def test_hostile_names_are_text(tmp_path: Path) -> None:
    row = dubbed(
        tmp_path,
        "evil",
        evaluated=False,
        id=HOSTILE,
        warnings=(f"W_ODD: {HOSTILE}",),
        consent=HOSTILE,
        audio=f"{tmp_path}/caf\udce9.wav",
        engine=HOSTILE,
    )
    bad = failed(HOSTILE + "2", error_message=f"{HOSTILE} https://me:word@host/x?sig=SECRET#part", hint=HOSTILE)
    run = results_of(tmp_path, row, bad)
    for goal in (made(run, "-o", tmp_path / "r"), made(run, "-o", tmp_path / "r.html")):
        for path in [goal, *goal.parent.glob("video-*.html")]:
            page = read_page(path)
            assert not any(one.attributes.get("src") == "x" for one in page.all("img"))
            scripts = page.all("script")
            assert not any("hacked" in one.text for one in scripts if not one.attributes.get("type"))
            content = path.read_text(encoding="utf-8")
            assert "SECRET" not in content
            assert "me:word" not in content
            assert "\u202e" not in content
            assert "</script><script>window" not in content
        table = read_page(goal).data("table-data")
        assert table["rows"][0]["cells"][0] == HOSTILE.replace("\u202e", "\\u202e")
    assert "caf\\udce9.wav" in words(read_page(tmp_path / "r" / "video-0001.html"))


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_data_of_scripts_is_json_without_signs_of_html(value: Any) -> None:
    text = for_script(value)
    assert json.loads(text) == value
    assert not set("<>&") & set(text)


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.binary(max_size=6))
def test_a_name_of_any_bytes_is_found_again(text: str, more: bytes) -> None:
    name = text + os.fsdecode(more)
    if "\\ud" not in text:
        assert bytes_of_name(escaped(name)) == name
    shown(name).encode()


def test_outputs_that_are_gone_or_others(tmp_path: Path) -> None:
    rows = [dubbed(tmp_path, name) for name in ("kept", "gone", "other")]
    (tmp_path / "gone.mp4").unlink()
    shutil.copyfile(tmp_path / "source.mp4", tmp_path / "other.mp4")
    with open(tmp_path / "other.mp4", "ab") as file:
        file.write(b"more")
    page = made(results_of(tmp_path, *rows), "-o", tmp_path / "r")
    notes = [row["note"] for row in read_page(page).data("table-data")["rows"]]
    assert notes == ["", "output is gone", "another file is there now"]
    for number, said in ((2, "moved or deleted"), (3, "Another file is at the output's place")):
        video = read_page(page.parent / f"video-{number:04}.html")
        assert said in words(video)
        assert not video.all("section", class_="player")
        assert "Figures" in words(video)  # the evaluation is still shown


def test_outputs_that_were_moved_with_their_results_are_found(tmp_path: Path) -> None:
    row = dubbed(tmp_path / "a", "job")
    (tmp_path / "b").mkdir()
    run = results_of(tmp_path / "b", row)
    for name in ("job.mp4", "job.evaluation.json"):
        os.rename(tmp_path / "a" / name, tmp_path / "b" / name)
    page = made(run, "-o", tmp_path / "r")
    video = read_page(page.parent / "video-0001.html")
    assert len(video.all("section", class_="player")) == 1
    assert str(tmp_path / "b" / "job.mp4") in words(video)


def test_an_evaluation_of_the_same_name_is_not_taken_for_that_of_a_moved_video(tmp_path: Path) -> None:
    """Outputs de/talk.mp4 and fr/talk.mp4 were moved, and one of their evaluations."""
    french = tmp_path / "fr" / "job.evaluation.json"
    rows = [dubbed(tmp_path, id="german"), dubbed(tmp_path / "fr", id="french", evaluation=str(french))]
    run = results_of(tmp_path, rows[0].model_copy(update={"evaluation": str(tmp_path / "de" / french.name)}), rows[1])
    table = tmp_path / french.name
    shutil.move(french, table)
    table.write_bytes(table.read_bytes().replace(b'"id": "job"', b'"id": "french"'))
    first = made(run, "--no-media", "-o", tmp_path / "r").parent
    assert "the one beside the results is of another video" in words(read_page(first / "video-0001.html"))
    assert "cannot be read" not in words(read_page(first / "video-0002.html"))


def test_the_digest_of_a_finished_output_serves_without_an_evaluation(tmp_path: Path) -> None:
    from raydub.pipeline.finished import _name_of
    from raydub.store import Store

    row = dubbed(tmp_path, evaluated=False)
    Store(tmp_path / "work").put_record(_name_of(str(tmp_path / "job.mp4")), {"output": "0" * 64})
    page = made(results_of(tmp_path, row), "-o", tmp_path / "r")
    assert read_page(page).data("table-data")["rows"][0]["note"] == "another file is there now"


def test_a_cleaned_work_folder_leaves_the_rest(tmp_path: Path) -> None:
    row = dubbed(tmp_path)
    shutil.rmtree(tmp_path / "work")
    page = made(results_of(tmp_path, row), "-o", tmp_path / "r")
    (player,) = read_page(page.parent / "video-0001.html").all("section", class_="player")
    assert player.attributes["data-after"]
    assert not player.attributes["data-before"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "its evaluation cannot be read: No such file"),
        ('{"format": 2, "shape": 1}', "its evaluation has format 2; this version of raydub reads up to 1"),
        ('{"format": 1', "its evaluation is damaged"),
        ("[" * 100_000, "its evaluation is damaged"),
    ],
)
def test_evaluations_that_cannot_be_read(tmp_path: Path, content: str | None, said: str) -> None:
    row = dubbed(tmp_path)
    path = Path(row.evaluation or "")
    path.unlink()
    if content is not None:
        path.write_text(content)
    page = made(results_of(tmp_path, row), "-o", tmp_path / "r", "--no-media")
    video = words(read_page(page.parent / "video-0001.html"))
    assert said in video
    assert "the mouth is 70 ms late" in video  # the reasons are in the results
    assert said in read_page(page).data("table-data")["rows"][0]["note"]


def test_without_media_outputs_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = dubbed(tmp_path)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("an output was read")

    monkeypatch.setattr("raydub.cluster.report.gather.identify", never)
    page = made(results_of(tmp_path, row), "-o", tmp_path / "r", "--no-media")
    assert not list((tmp_path / "r" / "media").iterdir())
    assert "made without media" in words(read_page(page.parent / "video-0001.html"))


def test_links_to_the_originals(tmp_path: Path) -> None:
    odd = "a #?%\u00e9 job"
    row = dubbed(tmp_path, "job")
    moved = tmp_path / f"{odd}.mp4"
    os.rename(tmp_path / "job.mp4", moved)
    from raydub.stages.job_plan import load_plan, save_plan

    plan = load_plan(row.job_dir or "")
    save_plan(plan.model_copy(update={"job": plan.job.model_copy(update={"output": str(moved)})}))
    row = row.model_copy(update={"output": str(moved)})
    page = made(results_of(tmp_path, row), "-o", tmp_path / "r", "--link-media")
    (player,) = read_page(page.parent / "video-0001.html").all("section", class_="player")
    assert player.attributes["data-after"] == "../a%20%23%3F%25%C3%A9%20job.mp4"
    assert player.attributes["data-before"] == "../source.mp4"
    assert [path.suffix for path in (tmp_path / "r" / "media").iterdir()] == [".jpg"]


def test_prices(tmp_path: Path) -> None:
    run = results_of(tmp_path, *(dubbed(tmp_path, name) for name in ("a", "b")))
    text = words(read_page(made(run, "-o", tmp_path / "r", "--no-media", "--price", "cpu=3600")))
    assert "Cost 16.00 the work, at the price of a core; 240.00 a minute" in text
    text = words(read_page(made(run, "-o", tmp_path / "r", "--no-media", "--price", "cpu=1", "--cluster", "2x8cpu")))
    assert "Cost – 2x8cpu for the wall time" in text  # no record of the run is left
    for wrong in (["--price", "gpu=1"], ["--price", "node=1"], ["--cluster", "2x8cpu"], ["--price", "cpu=-1"]):
        said = invoke(run, "-o", tmp_path / "r", *wrong)
        assert said.exit_code == EXIT_USAGE, wrong


def test_the_wall_time_is_that_of_the_run_with_these_results(tmp_path: Path) -> None:
    from raydub.store import Store

    run = results_of(tmp_path, dubbed(tmp_path))
    store = Store(tmp_path / "work")
    for number, (files, elapsed) in enumerate([([str(run)], 7200.0), (["/else/jobs.results.jsonl"], 60.0)], 1):
        store.put_record(f"state/{number:08}-{number:012}", {"status": "ended", "files": files, "elapsed": elapsed})
    arguments = (run, "-o", tmp_path / "r", "--no-media", "--price", "cpu=1", "--cluster", "2x8cpu")
    text = words(read_page(made(*arguments)))
    assert "Wall time 2.0 h" in text
    assert "Cost 32.00" in text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "E_MANIFEST_EMPTY"),
        ("not json\n", "E_MANIFEST_UNREADABLE"),
        ('{"video": "a.mp4", "audio": "b.wav"}\n', "E_MANIFEST_UNREADABLE"),
        ('{"id": "a", "status": "ok", "a_later_column": 1}\n', "E_MANIFEST_UNREADABLE"),
    ],
)
def test_what_is_no_results(tmp_path: Path, content: str, code: str) -> None:
    path = tmp_path / "jobs.results.jsonl"
    path.write_text(content)
    said = invoke(path, "--json")
    assert said.exit_code == EXIT_USAGE
    error = json.loads(said.stdout)["error"]
    assert error["code"] == code
    assert error["hint"]
    assert sorted(tmp_path.iterdir()) == [path]


def test_results_of_an_older_version_have_fewer_columns(tmp_path: Path) -> None:
    path = tmp_path / "jobs.results.jsonl"
    path.write_text('{"id": "a", "status": "failed", "error_code": "E_STORAGE", "output": null, "attempts": 1}\n')
    assert "E_STORAGE" in words(read_page(made(path)))


def test_a_folder_stands_for_its_newest_results(tmp_path: Path) -> None:
    assert "E_MANIFEST_UNREADABLE" in invoke(tmp_path).stderr
    results_of(tmp_path, failed("old"), name="jobs.results.jsonl")
    newest = results_of(tmp_path, failed("new"), name="jobs.results.try-2.jsonl")
    os.utime(tmp_path / "jobs.results.jsonl", (1, 1))
    page = read_page(made(tmp_path))
    assert page.data("table-data")["rows"][0]["cells"][0] == "new"
    assert newest.exists()


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = results_of(tmp_path, failed("a"))
    for package in ("plotly.offline", "jinja2"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            pages.assets.cache_clear()
            pages.templates.cache_clear()
            said = invoke(path)
        assert said.exit_code == EXIT_DEPENDENCY
        assert "pip install 'raydub[report]'" in said.stderr
    pages.assets.cache_clear()
    pages.templates.cache_clear()


def test_the_table_of_many_rows_has_every_figure(tmp_path: Path) -> None:
    path = run_of(tmp_path, 60)
    videos = gather(read_rows(path), path, None, read=False)
    table = table_of(videos, {})
    keys = [column["key"] for column in table["columns"]]
    assert {"f:r", "f:delay_ms", "f:psnr_outside", "f:true_peak_dbtp"} <= set(keys)
    shown_at_first = [column["key"] for column in table["columns"] if column["shown"]]
    assert shown_at_first == ["id", "verdict", "status", "seconds", "f:r", "f:delay_ms", "f:movement", "f:seam"]
    assert sum(row["cells"][keys.index("status")] == "failed" for row in table["rows"]) == 5


def test_every_figure_of_an_evaluation_has_words() -> None:
    from raydub.cluster.report.figures import GROUPS, KNOWN, meaning
    from raydub.stages.evaluate.names import JUDGED

    assert set(JUDGED) <= set(KNOWN)
    assert len({one.label for one in KNOWN.values()}) == len(KNOWN)
    assert {one.group for one in KNOWN.values()} <= set(GROUPS)
    assert all(meaning(name) for name in JUDGED)


def test_media_that_are_too_large_for_one_file(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydub.cluster.report.write.MOST_INLINE", 10_000)
    said = invoke(run, "-o", tmp_path / "all.html")
    assert said.exit_code == EXIT_USAGE
    assert "give a folder" in said.stderr
    assert not (tmp_path / "all.html").exists()
    few = results_of(tmp_path, *read_rows(run))
    assert made(few) == tmp_path / "jobs.report" / "index.html"
