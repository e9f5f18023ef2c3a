"""One job: one video to be dubbed with one speech."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from manifests.options import Options


class Job(BaseModel):
    """A valid manifest row. All paths are absolute; `output` was checked to lie inside the output root.

    id: unique in its manifest; video: a video file, an image or a folder of images; audio: the new speech, any file
    with a sound stream; both may be web addresses instead of paths, video then of a file. line: the manifest's line
    (row, in Parquet) that asked for the job, None when no manifest did; output_root: the root that `output` was checked
    against, for the check when it is published; "" where there was none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    video: str
    audio: str
    output: str
    options: Options = Options()
    line: int | None = None
    output_root: str = ""

    def row(self) -> dict[str, Any]:
        """The job as a manifest row, JSON-ready; reading it back with the same output root gives an equal job."""
        return {"id": self.id, "video": self.video, "audio": self.audio, "output": self.output, **self.options.row()}
