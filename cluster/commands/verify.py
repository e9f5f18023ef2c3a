"""`raydub verify`: what a video says about itself, who signed that, and whether it was altered."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_OK, Code, UsageError
from raydub.places import WORK_FOLDER, absolute, path_at

if TYPE_CHECKING:
    from raydub.stages.marks.reading import Marks

EXIT_CODES = {"intact": EXIT_OK, "altered": 1, "unproven": 4, "unmarked": 5, "untrusted": 6}
"""By verdict; 2 and 3 are those of every command."""
_HEADS = {
    "intact": "intact, and marked as synthetic",
    "altered": "ALTERED",
    "unproven": "marked as synthetic, without proof",
    "unmarked": "not marked as synthetic",
    "untrusted": "the signature is not one to rely on",
}
_WIDTH = 160
_INPUTS = {"video": "source", "audio": "speech"}


@command
def verify(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A video: .mp4, .mov or .mkv.")],
    trust: Annotated[
        Path | None,
        typer.Option("--trust", metavar="FILE", help="Certificates of the signers or issuers that you trust, PEM."),
    ] = None,
    work_dir: Annotated[
        PurePath | None, options.work_folder_of_run(f"the nearest {WORK_FOLDER} above the video")
    ] = None,
    as_json: options.AsJson = False,
) -> int:
    """Say what a video is: made by which engine of what, marked how, signed by whom, altered or not.

    Exit code 0: marked and proven intact; 1: altered; 4: marked, but nothing proves it; 5: not marked; 6: intact, but
    signed by nobody in --trust or with a certificate that has expired. Nothing is asked over the network."""
    from raydub.stages.marks.reading import judge, read_anchors, read_marks

    if "://" in file:
        hint = "copy the file to this machine"
        raise UsageError(Code.NOT_BUILT, "videos at addresses are not verified", field="file", hint=hint)
    anchors = read_anchors(str(trust)) if trust is not None else None
    found = read_marks(file, anchors)
    recorded = _recorded(file, work_dir)
    verdict, why = judge(found, recorded, file, anchors is not None)
    if as_json:
        say_json(_document(file, found, recorded, verdict, why))
    else:
        _say_screen(file, found, recorded, f"{_HEADS[verdict]}: {why}", anchors is not None)
    return EXIT_CODES[verdict]


def _recorded(file: str, work_dir: PurePath | None) -> str | None:
    """The digest of the file in a work folder's records."""
    from raydub.pipeline.clean import is_work_folder
    from raydub.pipeline.finished import recorded_digest

    above = [folder / WORK_FOLDER for folder in path_at(absolute(file)).parents if len(folder.parts) > 1]
    tried = [work_dir] if work_dir is not None else [folder for folder in above if is_work_folder(folder)]
    return next((digest for folder in tried if (digest := recorded_digest(file, folder)) is not None), None)


def _document(file: str, found: Marks, recorded: str | None, verdict: str, why: str) -> dict[str, Any]:
    proof = found.credentials
    return {
        "file": file,
        "verdict": verdict,
        "why": why,
        "sha256": found.sha256,
        "recorded_sha256": recorded,
        "marked": found.marked,
        "digital_source_type": found.source_type or None,
        "facts": found.facts(),
        "facts_are_signed": found.proven and bool(found.credentials and found.credentials.claim),
        "credentials": None if proof is None else vars(proof),
        "xmp": dict(found.xmp),
        "tags": dict(found.tags),
    }


def _say_screen(file: str, found: Marks, recorded: str | None, verdict: str, trusting: bool) -> None:
    facts, proof = found.facts(), found.credentials
    _line(f"{os.path.basename(file)}: {verdict}")
    _row("made by", f"raydub {facts['version']}" if "version" in facts else "nothing says")
    _row("what it is", found.source_type or ("synthetic" if found.marked else "nothing says"))
    spoken = f"; speech by {facts['tts']}" if facts.get("tts") else ""
    _row("engine", f"{facts.get('engine') or '?'}{spoken}")
    for text in _weights(facts.get("weights")):
        _row("weights", text)
    inputs = facts.get("inputs")
    for name, digest in inputs.items() if isinstance(inputs, dict) else ():
        _row(_INPUTS.get(str(name), str(name)), f"sha256 {digest}")
    if proof is not None and proof.inherits:
        _row("", "the source has credentials of its own, which are kept")
    _row("consent", _consent(facts.get("consent")))
    if facts.get("label"):
        _row("label", str(facts["label"]))
    if proof is None:
        _row("signed by", "nobody" if not found.signed_by else f"certificate {found.signed_by[:16]}, by its tags only")
    else:
        known = "trusted" if proof.trusted else "not among --trust" if trusting else "trust not checked: --trust FILE"
        _row("signed by", f"{proof.subject or '?'} ({known})")
        _row("issued by", f"{proof.issuer or '?'}, valid until {proof.until or '?'}")
    _row("record", "none" if recorded is None else "the same file" if recorded == found.sha256 else "another file")
    _row("file", f"sha256 {found.sha256}")
    if facts and not found.proven:
        _line("  The facts above are from metadata without a signature, which anybody can write.")


def _weights(said: Any) -> list[str]:
    if isinstance(said, list):
        return [f"{one.get('name')} sha256 {one.get('sha256')}" for one in said if isinstance(one, dict)]
    return [str(said)] if said else []


def _consent(said: Any) -> str:
    if not said:
        return "not stated"
    try:
        parts = json.loads(said)
    except (TypeError, ValueError, RecursionError):
        return str(said)
    return ", ".join(f"{name}: {value}" for name, value in parts.items()) if isinstance(parts, dict) else str(said)


def _row(name: str, text: str) -> None:
    _line(f"  {name:<11}{text}")


def _line(text: str) -> None:
    line = " ".join(text.split("\n"))
    say(line if len(line) <= _WIDTH else f"{line[:_WIDTH]}..")
