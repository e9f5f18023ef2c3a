"""One row: values, problems, paths."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, RaydubError, UsageError
from raydub.manifests.job import Job
from raydub.manifests.options import EXPECTED, FIELDS, SCRIPT_FIELDS, Options
from raydub.manifests.paths import confine_output, folded
from raydub.manifests.rows import parse_options, parse_row

GOOD = {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"}


def problems(
    row: dict[str, Any], folder: Path = Path("/in"), root: Path = Path("/out")
) -> list[tuple[Code, str | None]]:
    found = parse_row(row, folder, root, 7)
    assert not isinstance(found, Job), f"accepted: {found}"
    assert all(error.line == 7 and error.message for error in found)
    return [(error.code, error.field) for error in found]


def job(**fields: Any) -> Job:
    found = parse_row({**GOOD, **fields}, Path("/in"), Path("/out"), 1)
    assert isinstance(found, Job), found
    return found


def test_defaults_and_places() -> None:
    made = job()
    assert (made.id, made.video, made.audio, made.output) == ("o", "/in/a.mp4", "/in/b.wav", "/out/o.mp4")
    assert made.options == Options()
    assert made.options.masking == "dynamic"
    assert made.options.pads == (0, 10, 0, 0)


def test_every_problem_of_a_row_is_reported_at_once() -> None:
    row = {"video": 3, "output": "../o.mp4", "masking": "dynamik", "padz": 1, "crf": 99, "bed": "ducks", "audio": None}
    assert set(problems(row)) == {
        (Code.FIELD_VALUE, "video"),
        (Code.OUTPUT_ESCAPES, "output"),
        (Code.FIELD_MISSING, "audio"),
        (Code.FIELD_VALUE, "masking"),
        (Code.FIELD_UNKNOWN, "padz"),
        (Code.FIELD_VALUE, "crf"),
        (Code.FIELD_VALUE, "bed"),
    }


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"maskin": "always"}, "did you mean 'masking'?"),
        ({"resize-height": 3}, "did you mean 'resize_height'?"),
        ({"masking": "lips_opne"}, "did you mean 'lips-open'?"),
        ({"face": "bigest"}, "did you mean 'largest'?"),
        ({"preset": "very fast"}, "did you mean 'veryfast'?"),
        ({"rotate": 45}, "0, 90, 180 or 270"),
        ({"qqqqqq": 1}, "known fields: id, video"),
    ],
)
def test_a_near_miss_gets_the_nearest_name(row: dict[str, Any], hint: str) -> None:
    found = parse_row({**GOOD, **row}, Path("/in"), Path("/out"))
    assert isinstance(found, list)
    assert hint in found[0].hint


@pytest.mark.parametrize(
    ("given_value", "name", "value"),
    [
        ("0 10 0 0", "pads", (0, 10, 0, 0)),
        ("[1,2,3,4]", "pads", (1, 2, 3, 4)),
        ([1.0, 2, 3, 4], "pads", (1, 2, 3, 4)),
        ("10, 90, 20, 80", "box", (10, 90, 20, 80)),
        ((0, -1, 0, -1), "crop", (0, -1, 0, -1)),
        ("LIPS_OPEN", "masking", "lips-open"),
        ("29.97", "fps", Fraction(30000, 1001)),
        (23.976, "fps", Fraction(24000, 1001)),
        ("30000/1001", "fps", Fraction(30000, 1001)),
        (60, "fps", Fraction(60)),
        ("no", "smooth", False),
        (1, "smooth", True),
        ("2.5", "chunk_seconds", 2.5),
        ("90", "rotate", 90),
        ("index:2", "face", "index:2"),
        ("Reference: her.png", "face", "reference:/in/her.png"),
        ("w.pth", "model", "/in/w.pth"),
    ],
)
def test_text_and_typed_values(given_value: Any, name: str, value: Any) -> None:
    assert getattr(job(**{name: given_value}).options, name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pads", "1 2 3"),
        ("pads", [1, 2, 3, "x"]),
        ("pads", [True, 0, 0, 0]),
        ("box", [90, 10, 0, 50]),
        ("crop", [0, -2, 0, -1]),
        ("fps", "0"),
        ("fps", "1/0"),
        ("fps", "nan"),
        ("fps", 1000),
        ("crf", "18.5"),
        ("crf", True),
        ("chunk_seconds", "inf"),
        ("chunk_seconds", float("nan")),
        ("chunk_seconds", 10**400),
        ("smooth", "perhaps"),
        ("face", "index:-1"),
        ("face", "reference:"),
        ("rotate", "left"),
        ("mel_offset_frames", 1000),
        ("model", "a\nb"),
        ("masking", ["always"]),
        ("id", "a\nb"),
        ("id", "x" * 300),
        ("id", 12),
    ],
)
def test_wrong_values_say_what_was_expected(name: str, value: Any) -> None:
    found = parse_row({**GOOD, name: value}, Path("/in"), Path("/out"))
    assert isinstance(found, list)
    assert [(error.code, error.field) for error in found] == [(Code.FIELD_VALUE, name)]
    assert found[0].hint.startswith("expected ")


def test_exactly_one_speech() -> None:
    assert problems({"video": "a.mp4", "output": "o.mp4"}) == [(Code.FIELD_MISSING, "audio")]
    assert (Code.FIELD_CONFLICT, "script") in problems({**GOOD, "script": "s.srt"})
    for nothing in (None, "", "none", False):
        assert job(script=nothing) == job()


def spoken(**fields: Any) -> Job:
    row = {name: value for name, value in GOOD.items() if name != "audio"}
    found = parse_row({**row, "script": "s.srt", **fields}, Path("/in"), Path("/out"), 1)
    assert isinstance(found, Job), found
    return found


def test_a_script_in_the_place_of_sound() -> None:
    made = spoken(voice="es+f3", language="es", overflow="shift", tts="Piper")
    assert (made.script, made.audio) == ("/in/s.srt", None)
    assert (made.options.voice, made.options.tts, made.options.overflow) == ("es+f3", "piper", "shift")
    assert parse_row(made.row(), Path("/elsewhere"), Path("/out"), 1) == made
    assert made.inputs() == {"video": "/in/a.mp4", "script": "/in/s.srt"}


@pytest.mark.parametrize(
    "said",
    [
        {"Anna": "left", "Ben": "reference: ben, 2.png"},
        [("Anna", "left"), ("Ben", "reference:ben, 2.png")],
        "Anna=left; Ben=reference:ben, 2.png",
        " Anna = LEFT ,Ben=reference:ben, 2.png;",
        ' {"Anna": "left", "Ben": "reference: ben, 2.png"}',
    ],
)
def test_speakers_in_every_form_mean_the_same(said: Any) -> None:
    made = spoken(speakers=said)
    assert made.options.faces_of() == {"Anna": "left", "Ben": "reference:/in/ben, 2.png"}
    assert made.inputs()["speakers:Ben"] == "/in/ben, 2.png"
    moved = made.with_inputs({"speakers:Ben": "/tmp/x.png", "script": "/tmp/s"})
    assert moved.options.faces_of() == {"Anna": "left", "Ben": "reference:/tmp/x.png"}
    assert moved.script == "/tmp/s"
    assert parse_row(made.row(), Path("/elsewhere"), Path("/out"), 1) == made


@pytest.mark.parametrize(
    "value",
    [
        "left",
        "Anna=",
        "=left",
        "Anna=all",
        "Anna=up",
        "Anna=left; Anna=right",
        {"A": 3},
        {},
        {"A=B": "left"},
        ["left"],
        3,
    ],
)
def test_speakers_that_are_refused(value: Any) -> None:
    row = {name: text for name, text in GOOD.items() if name != "audio"}
    assert problems({**row, "script": "s.srt", "speakers": value}) == [(Code.FIELD_VALUE, "speakers")]


def test_voices_are_one_or_one_per_speaker() -> None:
    assert spoken(voice="es").options.voices_of() == {"": "es"}
    made = spoken(voice={"Anna": "es+f3", "*": "ben.onnx"})
    assert made.options.voices_of() == {"Anna": "es+f3", "*": "/in/ben.onnx"}
    assert made.inputs()["voice:*"] == "/in/ben.onnx"
    made = spoken(voice={"Anna": "sub/anna.ONNX#3", "Ben": "../../etc/passwd", "Cy": "amy#2"})
    assert made.options.voices_of() == {"Anna": "/in/sub/anna.ONNX#3", "Ben": "../../etc/passwd", "Cy": "amy#2"}
    assert {name for name in made.inputs() if name.startswith("voice")} == {"voice:Anna"}
    assert made.inputs()["voice:Anna"] == "/in/sub/anna.ONNX"


FOLDERS = ["run,lr=0.1", "a; b=c", "x=1;y=2", "{a}", "k=v, w=z;", '{"a": "b"}', "a\\", "anna=", ";", "a , b = c"]


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("said", [{"Anna": "p.png", "Ben": "q/r.png"}, {"Anna": "p.png"}])
def test_the_name_of_a_folder_says_nothing_of_speakers(folder: str, said: dict[str, str]) -> None:
    row = {"video": "v.mp4", "script": "s.srt", "output": "o.mp4"}
    models = {who: f"{path}.onnx#2" for who, path in said.items()}
    faces = {who: f"reference:{path}" for who, path in said.items()}
    place = Path("/in") / folder
    made = parse_row({**row, "speakers": faces, "voice": models}, place, Path("/out"), 1)
    assert isinstance(made, Job), made
    assert made.options.faces_of() == {who: f"reference:{place}/{path}" for who, path in said.items()}
    assert made.options.voices_of() == {who: f"{place}/{path}.onnx#2" for who, path in said.items()}
    assert {path for name, path in made.inputs().items() if ":" in name} == {
        *(f"{place}/{path}" for path in said.values()),
        *(f"{place}/{path}.onnx" for path in said.values()),
    }
    assert parse_row(made.row(), Path("/elsewhere"), Path("/out"), 1) == made
    moved = made.with_inputs({"speakers:Anna": f"/{folder}/x.png"})
    assert moved.options.faces_of() == {**made.options.faces_of(), "Anna": f"reference:/{folder}/x.png"}
    everybody = parse_row({**row, "voice": "plain.onnx"}, place, Path("/out"), 1)
    assert isinstance(everybody, Job), everybody
    assert everybody.options.voices_of() == {"": f"{place}/plain.onnx"}
    assert parse_row(everybody.row(), Path("/elsewhere"), Path("/out"), 1) == everybody


def test_what_a_job_does_not_use_changes_no_key() -> None:
    columns = {"tts": "piper", "voice": "x", "language": "es", "overflow": "fail"}
    assert set(columns) | {"speakers"} == SCRIPT_FIELDS
    assert job(**columns) == job(bed="none", bed_audio="m.wav") == job()


def test_conflicts_around_speech() -> None:
    row = {**{name: value for name, value in GOOD.items() if name != "audio"}, "script": "s.srt"}
    two = {"speakers": "A=left; B=right"}
    assert problems({**GOOD, **two}) == [(Code.FIELD_CONFLICT, "speakers")]
    assert problems({**row, **two, "face": "all"}) == [(Code.FIELD_CONFLICT, "speakers")]
    assert problems({**row, **two, "box": [0, 9, 0, 9]}) == [(Code.FIELD_CONFLICT, "speakers")]
    assert problems({**row, **two, "no_face": "drop"}) == [(Code.FIELD_CONFLICT, "no_face")]
    assert problems({**row, "bed": "duck", "no_face": "drop"}) == [(Code.FIELD_CONFLICT, "no_face")]
    assert problems({**row, "bed_audio": "m.wav"}) == [(Code.FIELD_CONFLICT, "bed_audio")]
    assert problems({**row, "script": "/out/o.mp4"}) == [(Code.FIELD_CONFLICT, "output")]
    assert problems({**row, "loudness": -3}) == [(Code.FIELD_VALUE, "loudness")]
    assert problems({**row, "tts": "a b"}) == [(Code.FIELD_VALUE, "tts")]


def test_conflicts_between_fields() -> None:
    assert problems({**GOOD, "engine": "wav2lip"}) == [(Code.FIELD_CONFLICT, "engine")]
    assert problems({**GOOD, "engine": "warp", "model": "w.pth"}) == [(Code.FIELD_CONFLICT, "model")]
    assert problems({**GOOD, "paste": "box"}) == [(Code.FIELD_CONFLICT, "paste")]
    assert job(paste="box", model="w.pth").options.paste == "box"
    assert problems({**GOOD, "box": [0, 9, 0, 9], "face": "left"}) == [(Code.FIELD_CONFLICT, "face")]
    assert problems({**GOOD, "video": "/out/o.mp4"}) == [(Code.FIELD_CONFLICT, "output")]


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("s3a://bucket/a.mp4", Code.URI_SCHEME),
        ("s3://bucket", Code.FIELD_VALUE),
        ("http://host/a.mp4", Code.URI_SCHEME),
        ("concat://x", Code.URI_SCHEME),
        ("https://127.0.0.1/a.mp4", Code.URI_DENIED),
        ("https://user:word@host/a.mp4", Code.FIELD_VALUE),
        ("file://host/a.mp4", Code.INPUT_FORMAT),
        ("file:///a%00b.mp4", Code.FIELD_VALUE),
        ("a\x00b.mp4", Code.FIELD_VALUE),
        ("\ud800.mp4", Code.FIELD_VALUE),
        ("x" * 300, Code.FIELD_VALUE),
    ],
)
def test_inputs_that_are_no_local_path(uri: str, code: Code) -> None:
    assert problems({**GOOD, "video": uri}) == [(code, "video")]


def test_file_uris_are_paths() -> None:
    assert job(video="file:///clips/my%20talk.mp4").video == "/clips/my talk.mp4"


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("../o.mp4", Code.OUTPUT_ESCAPES),
        ("a/../../o.mp4", Code.OUTPUT_ESCAPES),
        ("a/../o.mp4", Code.OUTPUT_ESCAPES),
        ("/etc/o.mp4", Code.OUTPUT_ESCAPES),
        ("file:///etc/o.mp4", Code.OUTPUT_ESCAPES),
        ("o.mp4\n", Code.OUTPUT_ESCAPES),
        ("o\x00.mp4", Code.OUTPUT_ESCAPES),
        ("file:///out/%2e%2e/o.mp4", Code.OUTPUT_ESCAPES),
        ("o.avi", Code.OUTPUT_FORMAT),
        ("o", Code.OUTPUT_FORMAT),
        ("o.mp4/", Code.OUTPUT_FORMAT),
        (".mp4", Code.OUTPUT_FORMAT),
        ("s3://bucket/o.mp4", Code.OUTPUT_ESCAPES),
        ("az://b/o.mp4", Code.NOT_BUILT),
    ],
)
def test_outputs_that_are_refused(output: str, code: Code) -> None:
    assert problems({**GOOD, "output": output}) == [(code, "output")]


def test_symlinks_do_not_lead_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "door").symlink_to(outside)
    (root / "inner").mkdir()
    (root / "alias").symlink_to(root / "inner")
    (root / "file.mp4").symlink_to(outside / "file.mp4")
    (root / "round.mp4").symlink_to(root / "round.mp4")
    (root / "folder.mp4").mkdir()
    assert confine_output("alias/o.mp4", root) == str(root / "inner" / "o.mp4")
    assert confine_output(str(root / "o.mp4"), root) == str(root / "o.mp4")
    for path, code in (
        ("door/o.mp4", Code.OUTPUT_ESCAPES),
        ("file.mp4", Code.OUTPUT_ESCAPES),
        ("folder.mp4", Code.OUTPUT_FORMAT),
    ):
        with pytest.raises(UsageError) as caught:
            confine_output(path, root)
        assert caught.value.code is code
    with pytest.raises(UsageError):
        confine_output("round.mp4/x.mp4", root)


PIECES = st.sampled_from(["..", ".", "a", "door", "/", "//", "~", "file://", "%2e%2e", "\n", "\0", "é", "o.mp4", "\\"])
ODD_PATHS = st.one_of(
    st.text(max_size=40), st.lists(PIECES, max_size=8).map("/".join), st.lists(PIECES, max_size=8).map("".join)
)


@given(text=ODD_PATHS, suffix=st.sampled_from(["", ".mp4"]))
def test_no_output_ever_leaves_the_root(tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str) -> None:
    base = tmp_path_factory.getbasetemp() / "confined"
    root = base / "root"
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "door").exists():
        (root / "door").symlink_to(base)
    try:
        path = confine_output(text + suffix, root)
    except RaydubError:
        return
    assert root.resolve() in Path(path).resolve().parents
    assert Path(path).suffix.lower() in (".mp4", ".mov", ".mkv")
    assert "\n" not in path


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, *GOOD, "script", "id"]) | st.text(max_size=12), JSON_LIKE, max_size=8))
def test_any_row_is_a_job_or_named_problems(row: dict[str, Any]) -> None:
    found = parse_row({**GOOD, **row}, Path("/in"), Path("/out"), 3)
    if isinstance(found, Job):
        assert parse_row(found.row(), Path("/elsewhere"), Path("/out"), 3) == found
    else:
        assert found
        for error in found:
            assert isinstance(error, UsageError)
            assert error.job
            str(error)


def test_options_alone() -> None:
    options, errors = parse_options({"masking": "always", "crf": "20", "model": ""}, Path("/x"))
    assert not errors
    assert options == Options(masking="always", crf=20)
    options, errors = parse_options({"crf": "many", "nope": 1}, Path("/x"))
    assert options is None
    assert {error.field for error in errors} == {"crf", "nope"}


def test_every_option_says_what_it_expects() -> None:
    assert all(len(EXPECTED[name]) > 8 for name in FIELDS)


def test_options_are_hashable_and_frozen() -> None:
    assert len({Options(), Options(masking="dynamic"), Options(crf=20)}) == 2
    with pytest.raises(ValueError, match="frozen"):
        Options().crf = 3  # type: ignore[misc]


def test_folding_is_one_form_for_lookalikes() -> None:
    assert folded("STRASSE") == folded("straße")
    assert folded("\ufb01lm") == folded("FILM")
    assert folded("e\u0301") == folded("\u00c9")
