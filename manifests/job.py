"""One job: a video and the speech to dub it with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from raydub.manifests.fields import REFERENCE, voice_file, words_of
from raydub.manifests.options import Options
from raydub.manifests.speech import SpeechTracks


class Job(BaseModel):
    """A valid manifest row. All paths are absolute; `output` is inside the output root.

    id: unique in its manifest; video: a video file, an image or a folder of images; audio: the new speech, any file
    with a sound stream; script: the text to speak; exactly one of audio and script is None. Instead of paths, web
    addresses of files are allowed. line: line of the manifest (row, in Parquet), None without a manifest; output_root:
    the root that `output` was checked against and is checked against again at publishing, "" for none. speech: set by
    the speak step for jobs that need it (needs_sound).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    video: str
    audio: str | None = None
    script: str | None = None
    output: str
    options: Options = Options()
    line: int | None = None
    output_root: str = ""
    speech: SpeechTracks | None = None

    def inputs(self) -> dict[str, str]:
        """Every file or address that the job reads, except weights, by its field; reference pictures as "face" or
        "speakers:NAME", voices that are files as "voice:NAME"."""
        options = self.options
        named = {"video": self.video, "audio": self.audio, "script": self.script}
        named |= {"bed_audio": options.bed_audio, "label_font": options.label_font}
        found = {name: path for name, path in named.items() if path is not None}
        faces = {"face": options.face, **{f"speakers:{name}": face for name, face in options.faces_of().items()}}
        for name, face in faces.items():
            if face.startswith(REFERENCE):
                found[name] = face.removeprefix(REFERENCE)
        for name, voice in options.voices_of().items():
            model = voice_file(voice)
            if model is not None and os.sep in model[0]:
                found[f"voice:{name}"] = model[0]
        return found

    def with_inputs(self, places: Mapping[str, str]) -> Job:
        """A copy of the job with other paths for inputs, by their names in inputs()."""
        options = self.options
        faces = options.faces_of()
        changed: dict[str, Any] = {}
        changed |= {name: places[name] for name in ("bed_audio", "label_font") if name in places}
        if "face" in places:
            changed["face"] = REFERENCE + places["face"]
        renamed = {name: REFERENCE + places[f"speakers:{name}"] for name in faces if f"speakers:{name}" in places}
        if renamed:
            changed["speakers"] = words_of({**faces, **renamed})
        own: dict[str, Any] = {name: places[name] for name in ("video", "audio", "script") if name in places}
        return self.model_copy(update={**own, "options": options.model_copy(update=changed)})

    def row(self) -> dict[str, Any]:
        """The job as a manifest row, JSON-ready; reading it back with the same output root gives an equal job."""
        speech = {"audio": self.audio} if self.script is None else {"script": self.script}
        return {"id": self.id, "video": self.video, **speech, "output": self.output, **self.options.row()}


def needs_sound(job: Job) -> bool:
    """Whether the job needs the speak step: it has a script, a bed or a loudness."""
    options = job.options
    return job.script is not None or options.bed != "none" or options.loudness is not None
