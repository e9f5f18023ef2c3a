"""Signed outputs: accepted by the C2PA library's own reader, and every change is seen."""

from __future__ import annotations

import functools
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import av
import c2pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.errors import Code, DependencyError, StageError
from raydub.media.mux import check_output
from raydub.media.probe import probe_video
from raydub.media.xmp import COMPOSITE
from raydub.pipeline.context import WorkerContext, WorkSettings
from raydub.pipeline.finished import Finished, keyed
from raydub.stages.job_plan import JobPlan
from raydub.stages.marks import credentials
from raydub.stages.marks.certificate import Signer, find_signer
from raydub.stages.marks.claim import OWN
from raydub.stages.marks.proof import credentials_of
from raydub.stages.marks.reading import judge, read_anchors, read_marks
from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE
from raydub.stages.stitch import Stitched, stitch_job
from raydub.stages.types import Part
from tests.examples import examples
from tests.stages.fakes import PaintEngine, babble, make_plan, write_video, write_wav
from tests.stages.marks.certificates import Made, make
from tests.stages.test_job import parts_of

FRAMES = 12
HOSTILE = 'Ana <a href="x">&amp;</a> ]]> \u202e'


@functools.cache
def certificates() -> Made:
    return make()


def signer_for(made: Made) -> Signer:
    with pytest.MonkeyPatch.context() as patch:
        made.use(patch)
        found = find_signer()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobPlan, list[Part]]:
    """A small job whose parts are made."""
    folder = tmp_path_factory.mktemp("job")
    engine = PaintEngine()
    audio = write_wav(folder / "speech.wav", babble(FRAMES / 25))
    plan = make_plan(folder, engine, write_video(folder / "source.mp4", FRAMES), audio, consent=HOSTILE, label="AI",
                     label_size=0.06)  # fmt: skip
    return plan, parts_of(plan, engine)


def joined(job: tuple[JobPlan, list[Part]], output: Path, signer: Signer | None = None, **options: Any) -> Stitched:
    plan, parts = job
    changed = plan.job.options.model_copy(update=options)
    own = plan.job.model_copy(update={"output": str(output), "options": changed})
    return stitch_job(plan.model_copy(update={"job": own}), parts, signer=signer)


@pytest.fixture(scope="module")
def signed(job: tuple[JobPlan, list[Part]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with o.mp4, o.mov, o.mkv, o.mkv.c2pa and root.pem."""
    folder = tmp_path_factory.mktemp("signed")
    for suffix in ("mp4", "mov", "mkv"):
        joined(job, folder / f"o.{suffix}", signer_for(certificates()))
    (folder / "root.pem").write_text(certificates().root)
    return folder


def verdict(path: Path, trust: Path | None = None, recorded: str | None = None) -> str:
    found = read_marks(str(path), None if trust is None else read_anchors(str(trust)))
    return judge(found, recorded, str(path), trust is not None)[0]


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_the_public_reader_accepts_them(signed: Path, suffix: str, job: tuple[JobPlan, list[Part]]) -> None:
    path, plan = signed / f"o.{suffix}", job[0]
    anchors = {"trust": {"trust_anchors": certificates().root}, "verify": {"verify_trust": True}}
    with c2pa.Reader(str(path), context=c2pa.Context.from_dict(anchors)) as reader:
        assert reader.get_validation_state() == "Trusted"
        said: Any = reader.get_active_manifest()
    assert said["title"] == f"o.{suffix}"
    made = {one["label"]: one["data"] for one in said["assertions"]}
    actions = made["c2pa.actions.v2"]["actions"]
    assert [one["action"] for one in actions] == ["c2pa.opened", "c2pa.dubbed", "c2pa.edited"]
    assert {one.get("digitalSourceType") for one in actions[1:]} == {COMPOSITE}
    assert [(one["title"], one["relationship"]) for one in said["ingredients"]] == [
        ("source.mp4", "parentOf"),
        ("speech.wav", "componentOf"),
    ]
    own = made[OWN]
    assert own["inputs"] == {"video": plan.video.identity, "audio": plan.inputs[0].identity}
    assert (own["consent"], own["label"], own["engine"]) == (HOSTILE, "AI", "paint")
    assert own["weights"] == [{"name": "paint", "sha256": "0" * 64}]
    check_output(str(path), FRAMES, plan.rate)
    with av.open(str(path)) as film:
        assert "signed, C2PA certificate" in film.metadata["comment"]


def test_beside_mkv(signed: Path) -> None:
    """The library validates a file beside with the media type of a Matroska, though it cannot write into one."""
    beside = (signed / "o.mkv.c2pa").read_bytes()
    with open(signed / "o.mkv", "rb") as film, c2pa.Reader("video/x-matroska", film, beside) as reader:
        assert reader.get_validation_state() == "Valid"
        results: Any = reader.get_validation_results()
    assert "assertion.dataHash.match" in {one["code"] for one in results["activeManifest"]["success"]}


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_read_back(signed: Path, suffix: str, tmp_path: Path) -> None:
    path = signed / f"o.{suffix}"
    found = read_marks(str(path), certificates().root)
    assert found.credentials is not None
    assert (found.credentials.state, found.credentials.trusted) == ("intact", True)
    assert "CN=Test Studio" in found.credentials.subject
    assert "CN=Test Root" in found.credentials.issuer
    assert found.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert found.facts()["consent"] == HOSTILE
    assert found.xmp["consent"] == HOSTILE
    assert verdict(path) == verdict(path, signed / "root.pem") == "intact"
    (tmp_path / "other.pem").write_text(make().root)
    assert verdict(path, tmp_path / "other.pem") == "untrusted"


@settings(max_examples=examples(160), deadline=None)
@given(data=st.data(), suffix=st.sampled_from(["mp4", "mov", "mkv", "mkv.c2pa"]))
def test_any_changed_byte_is_seen(data: st.DataObject, suffix: str) -> None:
    """Except in what C2PA leaves out of the hash: the file's type, free space, and the frame around the credentials,
    whose facts stay those that were signed."""
    folder = _SIGNED[0]
    content = bytearray((folder / f"o.{suffix}").read_bytes())
    first = int.from_bytes(content[:4], "big") if suffix in ("mp4", "mov") else 0
    at = data.draw(st.integers(first, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    goal = folder / "changed"
    goal.mkdir(exist_ok=True)
    shutil.copy(folder / "o.mkv", goal / "o.mkv")
    shutil.copy(folder / "o.mkv.c2pa", goal / "o.mkv.c2pa")
    (goal / f"o.{suffix}").write_bytes(content)
    path = goal / f"o.{suffix.partition('.')[0]}"
    if verdict(path) == "intact":
        assert _unhashed(folder / f"o.{suffix}", at), at
        assert read_marks(str(path)).facts() == read_marks(str(folder / path.name)).facts()


_SIGNED: list[Path] = []


@pytest.fixture(autouse=True)
def _signed_folder(signed: Path) -> None:
    _SIGNED[:] = [signed]


@pytest.mark.parametrize("said", [[1, 2], "text", 7, {"version": [1], "inputs": [2], "weights": {"a": 1}}])
def test_signed_by_another_tool(signed: Path, tmp_path: Path, said: Any) -> None:
    """Who uses the name of our assertion for something else is read like anybody."""
    address = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    created = {"actions": [{"action": "c2pa.created", "digitalSourceType": address}]}
    claim = {
        "claim_generator_info": [{"name": "another tool"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": created}, {"label": OWN, "data": said}],
    }
    plain, goal = tmp_path / "plain.mp4", tmp_path / "o.mp4"
    remux(signed / "o.mp4", plain, tags=False)
    signer = signer_for(certificates())
    with open(plain, "rb") as film, open(goal, "w+b") as made, signer.open() as own, c2pa.Builder(claim) as builder:
        builder.sign(own, "video/mp4", film, made)
    found = read_marks(str(goal))
    assert judge(found, None, str(goal), trusting=False)[0] == "intact"
    assert isinstance(found.facts(), dict)
    assert CliRunner().invoke(app, ["verify", str(goal)]).exit_code == 0


def test_free_space_is_not_signed(signed: Path, tmp_path: Path) -> None:
    """So C2PA has it; the words do not promise more."""
    longer = tmp_path / "o.mp4"
    longer.write_bytes((signed / "o.mp4").read_bytes() + b"\0\0\0\x10free" + b"whatever")
    said, why = judge(read_marks(str(longer)), None, str(longer), trusting=False)
    assert (said, "no byte" in why, "nothing that plays" in why) == ("intact", False, True)


def _unhashed(path: Path, at: int) -> bool:
    """Whether a byte is in a box `free`, or in the frame around what is signed."""
    data, position = path.read_bytes(), 0
    while path.suffix != ".c2pa" and position + 8 <= len(data):
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if position <= at < position + max(length, 8):
            return kind == b"free" or (kind == b"uuid" and data[position + 8 : position + 12].hex() == "d8fec3d6")
        position += max(length, 8)
    return path.suffix == ".c2pa"


def remux(source: Path, goal: Path, tags: bool = True) -> None:
    """Copy a film without its last frame, as any program would."""
    with av.open(str(source)) as film, av.open(str(goal), "w") as copy:
        copy.metadata.update(film.metadata if tags else {})
        streams = {one.index: copy.add_stream_from_template(one) for one in film.streams}
        packets = [packet for packet in film.demux() if packet.size]
        last = max((one for one in packets if one.stream.type == "video"), key=lambda one: one.pts)
        for packet in packets:
            if packet is not last:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)


def encode(source: Path, goal: Path) -> None:
    """Encode the picture of a film again."""
    with av.open(str(source)) as film, av.open(str(goal), "w") as copy:
        copy.metadata.update(film.metadata)
        stream = copy.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = (
            film.streams.video[0].width,
            film.streams.video[0].height,
            "yuv420p",
        )
        for frame in film.decode(video=0):
            copy.mux(stream.encode(frame))
        copy.mux(stream.encode(None))


def test_copies_by_other_programs(signed: Path, tmp_path: Path) -> None:
    for make_copy, name, wanted in (
        (remux, "cut.mp4", "altered"),
        (encode, "encoded.mp4", "altered"),
        (remux, "cut.mov", "altered"),
        (remux, "cut.mkv", "unproven"),
        (functools.partial(remux, tags=False), "bare.mp4", "unmarked"),
    ):
        make_copy(signed / f"o.{name.rpartition('.')[2]}", tmp_path / name)
        assert verdict(tmp_path / name) == wanted, name
    shutil.copy(signed / "o.mkv.c2pa", tmp_path / "cut.mkv.c2pa")
    assert verdict(tmp_path / "cut.mkv") == "altered"
    (tmp_path / "short.mp4").write_bytes((signed / "o.mp4").read_bytes()[:-50])
    assert verdict(tmp_path / "short.mp4") == "altered"


def test_without_a_signature(job: tuple[JobPlan, list[Part]], tmp_path: Path) -> None:
    done = joined(job, tmp_path / "o.mp4")
    assert done.marks == ("xmp", "label")
    assert verdict(tmp_path / "o.mp4") == "unproven"
    assert verdict(tmp_path / "o.mp4", recorded=done.sha256) == "intact"
    assert verdict(tmp_path / "o.mp4", recorded="0" * 64) == "altered"
    found = read_marks(str(tmp_path / "o.mp4"))
    assert found.facts()["inputs"] == {"video": job[0].video.identity, "audio": job[0].inputs[0].identity}
    silent = joined(job, tmp_path / "silent.mp4", mark_synthetic=False)
    assert silent.marks == ("label",)
    assert verdict(tmp_path / "silent.mp4", recorded=silent.sha256) == "unmarked"
    again = joined(job, tmp_path / "again.mp4")
    assert again.sha256 == done.sha256  # unsigned outputs of the same work are the same bytes


@pytest.mark.slow  # it waits for the end of a certificate
def test_an_expired_certificate(job: tuple[JobPlan, list[Part]], tmp_path: Path) -> None:
    """Without a time stamp, which would need a service, credentials end with their certificate."""
    soon = 2.0
    joined(job, tmp_path / "o.mp4", signer_for(make(end=soon / 86400)))
    time.sleep(soon + 1)
    found = credentials_of(str(tmp_path / "o.mp4"))
    assert found is not None
    assert found.state == "expired"
    assert verdict(tmp_path / "o.mp4") == "untrusted"


def test_a_file_beside_belongs_to_the_job(job: tuple[JobPlan, list[Part]], tmp_path: Path) -> None:
    goal, beside = tmp_path / "o.mkv", tmp_path / "o.mkv.c2pa"
    beside.write_text("mine")
    with pytest.raises(StageError) as found:
        joined(job, goal, signer_for(certificates()))
    assert found.value.code is Code.OUTPUT_EXISTS
    assert beside.read_text() == "mine"
    assert not goal.exists()  # no video without the credentials that were asked for
    joined(job, goal)
    assert beside.read_text() == "mine"
    beside.unlink()
    joined(job, goal, signer_for(certificates()))
    assert verdict(goal) == "intact"
    joined(job, goal)  # a run that does not sign leaves no credentials that do not fit
    assert not beside.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.mkv"]


def test_nothing_is_left_when_signing_fails(
    job: tuple[JobPlan, list[Part]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise c2pa.C2paError("no room")

    monkeypatch.setattr(c2pa.Builder, "sign", fail)
    for suffix in ("mp4", "mkv"):
        with pytest.raises(StageError, match="cannot be made: no room"):
            joined(job, tmp_path / f"o.{suffix}", signer_for(certificates_without_trial(monkeypatch)))
    assert list(tmp_path.iterdir()) == []


def certificates_without_trial(monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr("raydub.stages.marks.certificate._try", lambda *_: None)
    return certificates()


def test_large_files_are_hashed_in_blocks(
    job: tuple[JobPlan, list[Part]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "WHOLE", 1000)
    path = tmp_path / "o.mp4"
    joined(job, path, signer_for(certificates()))
    with c2pa.Reader(str(path)) as reader:
        said: Any = reader.get_active_manifest()
    [bound] = [one["data"] for one in said["assertions"] if one["label"].startswith("c2pa.hash.bmff")]
    assert bound["merkle"][0]["fixedBlockSize"] == 1 << 20
    assert verdict(path) == "intact"
    content = bytearray(path.read_bytes())
    content[content.rindex(b"mdat") + 2000] ^= 1
    path.write_bytes(content)
    assert verdict(path) == "altered"


def test_workers_sign_with_the_certificate_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key, _ = certificates().write(tmp_path)
    monkeypatch.setenv(CERT_VARIABLE, str(cert))
    monkeypatch.setenv(KEY_VARIABLE, str(key))
    found = find_signer()
    assert found is not None
    words = found.signing.words()
    assert certificates().key.splitlines()[1] not in words
    monkeypatch.delenv(CERT_VARIABLE)  # a worker on another node
    monkeypatch.delenv(KEY_VARIABLE)
    context = WorkerContext(WorkSettings(str(tmp_path / "work"), "run", signing=words))
    signer = context.signer()
    assert signer is not None
    assert signer.signing.sha256 == found.signing.sha256
    assert WorkerContext(WorkSettings(str(tmp_path / "work"), "run")).signer() is None
    make().write(tmp_path)  # renewed during the run
    with pytest.raises(DependencyError, match="another certificate here") as problem:
        context.signer()
    assert problem.value.code is Code.SIGNER


def test_another_signer_is_another_output(tmp_path: Path) -> None:
    words = [signer_for(certificates()).signing.words(), signer_for(make()).signing.words(), ""]
    assert len({keyed("content", one) for one in words}) == 3
    assert keyed("content", "") == "content"
    asked = [Finished(tmp_path, one)._signer for one in words]
    assert asked[2] == ""
    assert len(set(asked)) == 3
    assert json.loads(words[0])["sha256"] == asked[0]
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_credentials_of_the_source_are_kept(
    job: tuple[JobPlan, list[Part]], signed: Path, tmp_path: Path, suffix: str
) -> None:
    """The source is itself an output that somebody has signed, whole or changed."""
    plan, parts = job
    content = bytearray((signed / "o.mp4").read_bytes())
    (tmp_path / "whole.mp4").write_bytes(content)
    content[content.rindex(b"mdat") + 2000] ^= 1
    (tmp_path / "changed.mp4").write_bytes(content)
    for name, seen in (("whole.mp4", "match"), ("changed.mp4", "mismatch")):
        origin = probe_video(str(tmp_path / name))
        own = plan.model_copy(update={"video": origin})
        goal = tmp_path / f"{name}.{suffix}"
        joined((own, parts), goal, signer_for(certificates()))
        found = credentials_of(str(goal))
        assert found is not None
        assert (found.state, found.inherits) == ("intact", True)
        assert found.claim["inputs"]["video"] == origin.identity
        data = (tmp_path / f"{goal.name}.c2pa").read_bytes() if suffix == "mkv" else None
        with open(goal, "rb") as film, c2pa.Reader(credentials.FORMS[f".{suffix}"], film, data) as reader:
            said = reader.json()
            assert len(json.loads(said)["manifests"]) == 2
        assert f"assertion.bmffHash.{seen}" in said
    content[content.index(b"jumb") + 1] ^= 255  # no JUMBF any more
    (tmp_path / "damaged.mp4").write_bytes(content)
    own = plan.model_copy(update={"video": probe_video(str(tmp_path / "damaged.mp4"))})
    joined((own, parts), tmp_path / "last.mp4", signer_for(certificates()))
    left = credentials_of(str(tmp_path / "last.mp4"))
    assert left is not None
    assert (left.state, left.inherits) == ("intact", False)
    plain = credentials_of(str(signed / "o.mp4"))
    assert plain is not None
    assert not plain.inherits
