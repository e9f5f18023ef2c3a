"""Read the marks of any video back: tags, XMP, signed credentials; and judge them.

The file may be anybody's. What its unsigned metadata say is reported as such and proves nothing; the credentials are
verified against the bytes of the file by the C2PA library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import av.error

from raydub.errors import Code, InputError, RaydubError, UsageError
from raydub.media.info import ProbeLimits
from raydub.media.opening import check_file, open_input
from raydub.media.xmp import SOURCE_TYPE, facts_of
from raydub.media.xmp_place import read_xmp
from raydub.regular import read_regular
from raydub.stages.marks.proof import Credentials, credentials_of
from raydub.stages.marks.statement import SIGNED_TAG

Verdict = Literal["intact", "untrusted", "altered", "unproven", "unmarked"]
SYNTHETIC = frozenset(
    {
        "algorithmicMedia",
        "compositeSynthetic",
        "compositeWithTrainedAlgorithmicMedia",
        "trainedAlgorithmicMedia",
        "virtualRecording",
    }
)
"""IPTC's digital source types of media that a machine has made, wholly or in part."""
_MAX_TRUST = 1 << 20
_SHOWN = 2000


@dataclass(frozen=True)
class Marks:
    """What a file says. sha256: of all its bytes; tags: of the container, keys in small letters; xmp: see
    media.xmp.facts_of; credentials: None for none."""

    sha256: str
    tags: Mapping[str, str] = field(default_factory=dict)
    xmp: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials | None = None

    @property
    def proven(self) -> bool:
        """Whether the credentials hold."""
        return self.credentials is not None and self.credentials.state == "intact"

    @property
    def source_type(self) -> str:
        """IPTC's term for what the file is, from credentials that hold, else from its metadata; "" for none."""
        signed = self.credentials.source_type if self.credentials is not None and self.proven else ""
        said = signed or self.xmp.get(SOURCE_TYPE) or self.tags.get(SOURCE_TYPE) or ""
        return said.rpartition("/")[2]

    @property
    def marked(self) -> bool:
        """Whether the file says in any way that it is synthetic."""
        by_word = self.tags.get("synthetic") == "true" or self.tags.get("comment", "").startswith("Synthetic media")
        return by_word or self.source_type in SYNTHETIC

    @property
    def signed_by(self) -> str:
        """Fingerprint of the certificate that the tags name, "" for none: it stays in copies without credentials."""
        found = self.tags.get(SIGNED_TAG, "") or self.tags.get("comment", "").partition("C2PA certificate ")[2]
        return found[:64]

    def facts(self) -> dict[str, Any]:
        """Who made it with what, of what, who agreed: from credentials that hold, else from XMP, else from tags."""
        if self.credentials is not None and self.proven and self.credentials.claim:
            return dict(self.credentials.claim)
        known = {name: self.xmp[name] for name in ("job", "engine", "tts", "weights", "consent") if name in self.xmp}
        hashes = {name.removesuffix("_sha256"): said for name, said in self.xmp.items() if name.endswith("_sha256")}
        ours = {"source": "video"} | ({} if "script" in hashes else {"speech": "audio"})
        inputs = {ours.get(name, name): said for name, said in hashes.items()}
        tool = self.xmp.get("tool") or self.tags.get("encoder_app", "")
        version = {"version": tool.removeprefix("raydub ")} if tool.startswith("raydub ") else {}
        tags = {"engine": self.tags.get("raydub_engine"), "weights": self.tags.get("raydub_weights")}
        found = {**{name: said for name, said in tags.items() if said}, **known, **version}
        return {**found, "inputs": inputs} if inputs else found


def read_marks(path: str, anchors: str | None = None) -> Marks:
    """The marks of a local video file. anchors: see credentials_of.

    Raises UsageError for a path that is no readable file, DependencyError DEPENDENCY_MISSING for a file with
    credentials where the C2PA library is not installed.
    """
    try:
        check_file(path, ProbeLimits(), "video")
    except InputError as error:
        raise UsageError(error.code, error.message, hint=error.hint, field="file") from error
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Marks(digest, _tags(path), facts_of(read_xmp(path)), credentials_of(path, anchors))
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise UsageError(Code.INPUT_UNREADABLE, message, field="file") from error


def read_anchors(path: str) -> str:
    """The PEM text of a file of certificates to trust. Raises UsageError FIELD_VALUE."""
    try:
        text = read_regular(path, _MAX_TRUST).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(Code.FIELD_VALUE, f"cannot read {path}: {why}", field="trust") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        hint = "give a file with the certificates of the issuers that you trust, in PEM form"
        raise UsageError(Code.FIELD_VALUE, f"{path} has no certificate", field="trust", hint=hint)
    return text


def judge(found: Marks, recorded: str | None, path: str, trusting: bool) -> tuple[Verdict, str]:
    """The verdict on a file, and a sentence why. recorded: SHA-256 of the file as a work folder has it, None for no
    record; trusting: anchors were given."""
    proof = found.credentials
    if proof is not None and proof.state == "altered":
        return "altered", f"the file is not the one that was signed: {proof.why}"
    if proof is not None and proof.state == "unreadable":
        return "altered", f"its credentials are damaged: {proof.why}"
    if proof is not None:
        changed = (
            " (it is not the file that the work folder has a record of)" if recorded not in (None, found.sha256) else ""
        )
        if not found.marked:
            return "unmarked", "signed and not altered since, but it does not say that it is synthetic"
        if proof.state == "expired":
            return "untrusted", f"nothing that plays has changed since it was signed, but {proof.why}{changed}"
        if trusting and not proof.trusted:
            return (
                "untrusted",
                f"nothing that plays has changed since it was signed, but by nobody that you trust{changed}",
            )
        return "intact", f"nothing that plays has changed since it was signed{changed}"
    if recorded is not None and recorded != found.sha256:
        return "altered", "it is not the file that was published, by the record of the work folder"
    if not found.marked:
        return "unmarked", "it does not say that it is synthetic, and has no credentials"
    if recorded is not None:
        return "intact", "it is the file that was published, by the record of the work folder; it is not signed"
    if found.signed_by and path.lower().endswith(".mkv"):
        return "unproven", f"it was signed, but its credentials are not beside it: {path}.c2pa"
    if found.signed_by:
        return "altered", "it was signed, and its credentials are gone: it was written again by another program"
    return "unproven", "it is not signed, so nothing proves that it was not altered"


def _tags(path: str) -> dict[str, str]:
    try:
        with open_input(path, ProbeLimits()) as film:
            return {str(name).lower()[:100]: str(said)[:_SHOWN] for name, said in film.metadata.items()}
    except (RaydubError, av.error.FFmpegError, OSError, ValueError):
        return {}
