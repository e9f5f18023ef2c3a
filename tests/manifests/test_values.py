"""What every field refuses: text without a UTF-8 form and more than it could mean, and both quickly."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.manifests.fields import by_speaker, split_voice, voice_file, words_of
from raydub.manifests.options import FIELDS
from raydub.manifests.read import check_rows, read_manifest
from raydub.manifests.rows import OWN
from raydub.manifests.values import MAX_PARTS, MAX_TEXT, refused
from raydub.texts import has_utf8
from tests.examples import examples, slow

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"}
TEXTS = (*OWN, *FIELDS)
NO_UTF8 = ["caf\udce9.mp4", "\ud800", "x\udfff.mp4"]


def row_with(name: str, value: Any) -> dict[str, Any]:
    row: dict[str, Any] = {**GOOD, "id": "one"}
    if name in ("script", "speakers", "voice", "language"):
        row["script"] = "s.srt"
        del row["audio"]
    return {**row, name: value}


@pytest.mark.parametrize("name", TEXTS)
def test_text_without_a_utf8_form_is_an_error_of_its_row_and_field(tmp_path: Path, name: str) -> None:
    for text in NO_UTF8:
        values = [text, [text], {text: "left"}, {"anna": text}, f"reference:{text}", f"anna={text}"]
        rows = [row_with(name, value) for value in values]
        read = check_rows(enumerate([*rows, {**GOOD, "output": "p.mp4"}], 1), tmp_path, tmp_path)
        assert [job.line for job in read.jobs] == [len(values) + 1]
        assert [(bad.line, {error.field for error in bad.errors}) for bad in read.bad] == [
            (line, {name}) for line in range(1, len(values) + 1)
        ]
        assert {bad.errors[0].code for bad in read.bad} == {Code.FIELD_VALUE}
        assert all(has_utf8(str(error)) and has_utf8(bad.id) for bad in read.bad for error in bad.errors)
        assert "rename" in read.bad[0].errors[0].hint


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_path_in_another_encoding_costs_its_row_in_every_form(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    names = [b"caf\xe9.mp4", "café.mp4".encode()]
    if suffix == ".jsonl":
        path.write_bytes(
            b"".join(b'{"video": "%s", "audio": "b", "output": "%d.mp4"}\n' % (n, i) for i, n in enumerate(names))
        )
    elif suffix == ".csv":
        path.write_bytes(b"video,audio,output\n" + b"".join(b"%s,b,%d.mp4\n" % (n, i) for i, n in enumerate(names)))
    else:
        # Arrow writes bytes as text without looking at them.
        text = pa.Array.from_buffers(pa.string(), 2, pa.array(names, pa.binary()).buffers())
        pq.write_table(pa.table({"video": text, "audio": ["b", "b"], "output": ["0.mp4", "1.mp4"]}), path)
    read = read_manifest(path)
    assert [Path(job.video).name for job in read.jobs] == ["café.mp4"]
    assert [(error.code, error.field) for error in read.errors] == [(Code.FIELD_VALUE, "video")]


def test_parquet_lists_with_another_encoding_cost_their_row(tmp_path: Path) -> None:
    items = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xe9", b"left"], pa.binary()).buffers())
    pads = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), items)
    pq.write_table(
        pa.table({**{name: [f"0{v}", f"1{v}"] for name, v in GOOD.items()}, "face": pads}), tmp_path / "m.parquet"
    )
    read = read_manifest(tmp_path / "m.parquet")
    assert [(error.line, error.code) for error in read.errors] == [(1, Code.MANIFEST_SYNTAX), (2, Code.FIELD_VALUE)]


def test_folders_without_a_utf8_name_are_refused_at_once(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    (odd / "m.jsonl").write_text(json.dumps(GOOD) + "\n")
    (tmp_path / "m.jsonl").write_text(json.dumps(GOOD) + "\n")
    (tmp_path / "link").symlink_to(odd)
    for manifest, root in (
        (odd / "m.jsonl", tmp_path),
        (tmp_path / "m.jsonl", odd),
        (tmp_path / "m.jsonl", tmp_path / "link"),
    ):
        with pytest.raises(UsageError) as caught:
            read_manifest(manifest, root)
        assert caught.value.code is Code.FIELD_VALUE
    read = check_rows([(1, {**GOOD, "output": "link/o.mp4"}), (2, GOOD)], tmp_path, tmp_path)
    assert [(error.line, error.field) for error in read.errors] == [(1, "output")]
    for text in ("file:///caf%E9.mp4", "file:///%ED%A0%80.mp4"):
        (error,) = check_rows([(1, {**GOOD, "video": text})], tmp_path, tmp_path).errors
        assert (error.code, error.field) == (Code.FIELD_VALUE, "video")


def test_unknown_fields_have_any_name_and_value(tmp_path: Path) -> None:
    rows = [{**GOOD, "\ud800": 1}, {**GOOD, "x" * 100_000: "y"}, {**GOOD, "maskin": "\ud800"}, {**GOOD, "": ["\ud800"]}]
    read = check_rows(enumerate(rows, 1), tmp_path, tmp_path)
    assert {error.code for error in read.errors} == {Code.FIELD_UNKNOWN}
    assert all(has_utf8(f"{error} {error.field}") and len(str(error)) < 1500 for error in read.errors)


@pytest.mark.parametrize("name", TEXTS)
def test_every_field_has_a_length(tmp_path: Path, name: str) -> None:
    parts = [0] * (MAX_PARTS + 1)
    for value in (
        "x" * (MAX_TEXT + 1),
        [["x" * 200] * 100],
        {"x" * 20_000: "left"},
        parts,
        dict.fromkeys(map(str, parts)),
    ):
        problem = refused(name, value)
        if isinstance(value, dict) and len(value) == 1 and "0" in value:
            continue
        assert problem is not None
        assert (problem.code, problem.field) == (Code.FIELD_VALUE, name)
        (bad,) = check_rows([(1, row_with(name, value))], tmp_path, tmp_path).bad
        assert {error.field for error in bad.errors} == {name}
        assert all(len(str(error)) < 1000 for error in bad.errors)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a, b.onnx", {"": "a, b.onnx"}),
        ("anna=a, b.png; ben=c;d", {"anna": "a, b.png", "ben": "c;d"}),
        ("anna=a ,  ben = b;", {"anna": "a", "ben": "b"}),
        ("anna=a;=b", {"anna": "a;=b"}),
        ("a=b=c, d=e", {"a": "b=c", "d": "e"}),
    ],
)
def test_values_per_speaker_are_cut_at_names_only(text: str, values: dict[str, str]) -> None:
    assert by_speaker(text) == values


PIECES = st.sampled_from(
    [";", ",", "=", " ", "{", "}", '"', "\\", ":", "/", "reference:", "\u2028", "é"]
) | st.characters(exclude_categories=["Cs", "Cc"])
VALUES = st.lists(PIECES, min_size=1, max_size=12).map("".join).filter(str.strip)
NAMES = VALUES.map(lambda text: re.sub("[=;,]", "", text).strip()).filter(lambda name: 0 < len(name) <= 80)


@settings(deadline=None, max_examples=examples(500))
@given(said=st.dictionaries(NAMES, VALUES, min_size=1, max_size=4) | st.builds(lambda text: {"": text}, VALUES))
@example({"": '{"anna": "ben"}'})
@example({"anna": "reference:/run,lr=0.1/a.png", "ben": "x;"})
def test_any_value_per_speaker_has_a_text(said: dict[str, str]) -> None:
    text = words_of(said)
    assert by_speaker(text) == said
    assert words_of(by_speaker(text)) == text
    assert said == {who: what.strip() for who, what in said.items()} or text.startswith("{")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"anna": "a", "anna": "b"}',
        '{"": "a", "ben": "b"}',
        '{"anna": 1}',
        '{"anna": {"ben": "c"}}',
        '{"anna": " "}',
        '{"anna": "a\\nb"}',
        '{"anna": "\\ud800"}',
        '{"an=na": "a"}',
        '{" anna": "a"}',
        str({str(n): "x" for n in range(33)}).replace("'", '"'),
    ],
)
def test_objects_that_say_nothing_of_speakers(text: str) -> None:
    with pytest.raises(ValueError, match="speaker"):
        by_speaker(text)


def test_a_text_that_is_no_object_is_a_value() -> None:
    assert by_speaker("{x") == {"": "{x"}
    assert by_speaker("{anna=x; ben=y}") == {"{anna": "x", "ben": "y}"}


BUDGET = 60
"""Seconds of processor time for all values of a dozen fields. They take 1 to 3; with one quadratic pattern, hours."""


@pytest.mark.parametrize("size", [slow(16_000), 200_000])
@pytest.mark.parametrize("part", range(5))
def test_no_value_of_any_field_takes_long(tmp_path: Path, part: int, size: int) -> None:
    """Processor time is limited by the kernel: a busy machine changes nothing."""
    names = [*TEXTS, "unknown"][part::5]
    call = [sys.executable, "-m", "tests.manifests.hostile", ",".join(names), str(size), str(tmp_path)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (BUDGET, BUDGET + 5))

    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 0, done.stderr[-2000:] or "it took too long"


@pytest.mark.parametrize(
    ("voice", "model", "speaker", "is_file"),
    [
        ("x.onnx", "x.onnx", "", True),
        ("x.onnx#3", "x.onnx", "3", True),
        ("/a#b/x.ONNX", "/a#b/x.ONNX", "", True),
        ("/a#b/x.onnx#ana", "/a#b/x.onnx", "ana", True),
        ("/a.onnx#/x.onnx#ana", "/a.onnx#/x.onnx", "ana", True),
        ("/a/x.onnx#a#b", "/a/x.onnx", "a#b", True),
        ("/a/x.onnx#", "/a/x.onnx", "", True),
        ("x.onnx\n", "x.onnx\n", "", False),
        ("x.onnx.json", "x.onnx.json", "", False),
        ("es_ES-davefx-medium", "es_ES-davefx-medium", "", False),
        ("amy#2", "amy", "2", False),
        ("amy#2#3", "amy", "2#3", False),
        ("", "", "", False),
    ],
)
def test_a_voice_is_a_model_and_a_speaker(voice: str, model: str, speaker: str, is_file: bool) -> None:
    assert split_voice(voice) == (model, speaker)
    assert voice_file(voice) == ((model, voice[len(model) :]) if is_file else None)


@pytest.mark.parametrize("part", ["#", ".onnx", ".onnx#", "a", ".onnxx"])
def test_a_voice_of_any_length_is_split(part: str) -> None:
    voice = (part * MAX_TEXT)[:MAX_TEXT]
    model, speaker = split_voice(voice)
    assert len(model) + len(speaker) >= MAX_TEXT - 1
