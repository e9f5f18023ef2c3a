"""What is true of an output, once: who made it with what, of what, and who agreed. Tags, XMP and credentials all say
this."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raydub import __version__
from raydub.media.fetch_uri import redact
from raydub.media.xmp import COMPOSITE, SOURCE_TYPE, packet

if TYPE_CHECKING:
    from raydub.stages.job_plan import JobPlan

SIGNED_TAG = "raydub_credentials"
"""The tag that says which certificate signed the file, so that a copy without its credentials is known as one."""
_SHOWN = 16


@dataclass(frozen=True)
class Statement:
    """job: its id; weights: (name, sha256) of each file; tts: the engine that spoke a script; inputs: SHA-256 by name
    in Job.inputs(), with a script also that of the "speech" made of it; names: file names of the inputs; signer:
    SHA-256 of the certificate that signs, "" for none; marked: the file is marked as synthetic (field
    mark_synthetic)."""

    job: str
    engine: str
    weights: tuple[tuple[str, str], ...]
    inputs: Mapping[str, str]
    names: Mapping[str, str]
    consent: str | None = None
    label: str | None = None
    tts: str | None = None
    signer: str = ""
    marked: bool = True
    version: str = __version__

    def tags(self) -> dict[str, str]:
        """Tags of the container. `comment` is the sentence that players show."""
        digests = ",".join(sha256[:_SHOWN] for _, sha256 in self.weights) or "none"
        tags = {"encoder_app": f"raydub {self.version}", "raydub_engine": self.engine, "raydub_weights": digests}
        if self.signer:
            tags[SIGNED_TAG] = self.signer
        if self.marked:
            signed = f"; signed, C2PA certificate {self.signer[:_SHOWN]}" if self.signer else ""
            tags["comment"] = (
                f"Synthetic media: lips altered by AI to match another speech (raydub {self.version}, engine "
                f"{self.engine}, weights {digests}){signed}"
            )
            tags["synthetic"] = "true"
            tags[SOURCE_TYPE] = COMPOSITE
        return tags

    def xmp(self) -> bytes:
        """The XMP packet, b"" for a file that is not marked."""
        if not self.marked:
            return b""
        facts = {SOURCE_TYPE: COMPOSITE, "tool": f"raydub {self.version}", "job": self.job, "engine": self.engine}
        facts["weights"] = ", ".join(f"{name} {sha256}" for name, sha256 in self.weights) or "none"
        facts |= {f"{_word(name)}_sha256": digest for name, digest in sorted(self.inputs.items()) if ":" not in name}
        more = {"consent": self.consent, "tts": self.tts}
        facts |= {name: value for name, value in more.items() if value is not None}
        return packet(facts)


def statement_of(plan: JobPlan, signer: str = "") -> Statement:
    """The statement of a job's output."""
    job = plan.job
    asked = job.inputs()
    seen = {"video": plan.video.identity, **{one.what: one.identity for one in plan.inputs}}
    inputs = {name: seen[name] for name in asked if name in seen}
    files = [(record.name, record.sha256) for record in plan.weights]
    files += [(voice.name, voice.sha256) for voice in (job.speech.weights if job.speech is not None else ())]
    if job.audio is None:
        inputs["speech"] = next(one.identity for one in plan.inputs if one.path == plan.sound)
    return Statement(
        job=job.id,
        engine=plan.engine,
        weights=tuple((os.path.basename(name), sha256) for name, sha256 in files),
        tts=job.options.tts if job.script is not None else None,
        inputs=inputs,
        names={name: os.path.basename(redact(text).rstrip("/")) for name, text in asked.items()},
        consent=job.options.consent,
        label=job.options.label,
        signer=signer,
        marked=job.options.mark_synthetic,
    )


def _word(name: str) -> str:
    return {"video": "source", "audio": "speech"}.get(name, name)
