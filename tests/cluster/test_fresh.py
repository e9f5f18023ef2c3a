"""--fresh: the work is done again, and what earlier runs kept is not reused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raydub.cluster.cli import app
from raydub.media.writer import count_frames
from tests.cluster.clips import make_clip, make_speech


def records(folder: Path) -> dict[str, int]:
    """When each record of work was written, by its name."""
    refs = folder / ".raydub" / "refs"
    kinds = ("parts", "tracks", "jobs", "sources", "done")
    return {
        str(path.relative_to(refs)): path.stat().st_mtime_ns for kind in kinds for path in (refs / kind).rglob("*.json")
    }


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--no-ray"], []], ids=["loop", "ray"])
def test_a_fresh_run_does_everything_again(tmp_path: Path, more: list[str]) -> None:
    make_clip(tmp_path / "v.mp4", 0.6)
    make_speech(tmp_path / "a.wav", 0.6)
    row = {"video": "v.mp4", "audio": "a.wav", "output": "o.mp4", "chunk_seconds": 0.3}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")

    def run(*arguments: str) -> dict:  # type: ignore[type-arg]
        done = CliRunner().invoke(app, ["run", str(tmp_path / "m.jsonl"), "--json", *more, *arguments])
        assert done.exit_code == 0, done.stderr
        found = json.loads(done.stdout)
        return {"before": found["finished_before"], **found["results"][0]}

    first = run()
    kept = records(tmp_path)
    assert {name.partition("/")[0] for name in kept} >= {"parts", "tracks", "jobs", "done"}
    assert run()["before"] == 1
    assert records(tmp_path) == kept
    again = run("--fresh")
    assert (again["before"], again["attempts"], again["frames"]) == (0, 1, first["frames"])
    assert {"track", "lipsync", "render", "stitch"} <= set(again["seconds"])
    now = records(tmp_path)
    assert set(now) == set(kept)
    assert [name for name in kept if now[name] <= kept[name]] == []
    assert count_frames(str(tmp_path / "o.mp4")) == first["frames"]
    assert run()["before"] == 1
