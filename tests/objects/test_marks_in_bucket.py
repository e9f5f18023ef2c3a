"""Credentials of an output in a bucket: inside it or beside it, and gone with it when a run no longer signs."""

from __future__ import annotations

from pathlib import Path

import pytest

from raydub.errors import Code, StageError
from raydub.objects.bucket import bucket_of
from raydub.stages.marks.reading import judge, read_marks
from raydub.stages.stitch import stitch_job
from tests.stages.fakes import PaintEngine, babble, make_plan, write_video, write_wav
from tests.stages.marks.certificates import make
from tests.stages.marks.test_credentials import signer_for
from tests.stages.test_job import parts_of


def test_credentials_beside_an_object(s3: str, tmp_path: Path) -> None:
    engine, bucket = PaintEngine(), bucket_of(s3)
    audio = write_wav(tmp_path / "a.wav", babble(0.2))
    plan = make_plan(tmp_path, engine, write_video(tmp_path / "v.mp4", 5), audio)
    parts, signer = parts_of(plan, engine), signer_for(make())
    for name in ("o.mp4", "o.mkv"):
        job = plan.job.model_copy(update={"output": f"{s3}/out/{name}", "output_root": f"{s3}/out"})
        own = plan.model_copy(update={"job": job})
        stitch_job(own, parts, signer=signer)
        beside = [f"{name}.c2pa"] if name.endswith(".mkv") else []
        for one in (name, *beside):
            found = bucket.get(f"out/{one}")
            assert found is not None
            (tmp_path / one).write_bytes(found[0])
        assert judge(read_marks(str(tmp_path / name)), None, name, trusting=False)[0] == "intact"
        stitch_job(own, parts)
        assert bucket.head(f"out/{name}.c2pa") is None
    bucket.put("out/o.mkv.c2pa", b"mine")
    with pytest.raises(StageError) as problem:
        stitch_job(own, parts, signer=signer)
    assert problem.value.code is Code.OUTPUT_EXISTS
    stitch_job(own, parts)
    assert bucket.head("out/o.mkv.c2pa") is not None
