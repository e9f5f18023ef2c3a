"""Verify the C2PA credentials of a file, offline."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from raydub.stages.marks.certificate import need_c2pa
from raydub.stages.marks.claim import OWN
from raydub.stages.marks.credentials import SIDECAR, context, form_with_credentials

_EXPIRED = ("signingCredential.expired", "claimSignature.outsideValidity")
_UNTRUSTED = "signingCredential.untrusted"
_MAX_SIDECAR = 64 << 20


@dataclass(frozen=True)
class Credentials:
    """state: "intact", "altered", "expired" (the bytes are those that were signed, but the certificate is not valid any
    more) or "unreadable"; why: a sentence where it is not intact; trusted: the certificate leads to one of the anchors;
    subject, issuer: of the certificate; until: its end; source_type: the address of IPTC's term in the actions; claim:
    raydub's own assertion; place: the file that has the credentials; inherits: those of the source are among them."""

    state: Literal["intact", "altered", "expired", "unreadable"]
    why: str = ""
    trusted: bool = False
    subject: str = ""
    issuer: str = ""
    until: str = ""
    source_type: str = ""
    claim: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    inherits: bool = False


def credentials_of(path: str, anchors: str | None = None) -> Credentials | None:
    """The credentials of a file, in it or beside it; None for none. anchors: PEM of the certificates that are trusted,
    None to look at the signature only. Raises OSError, DependencyError DEPENDENCY_MISSING."""
    with open(path, "rb") as file:
        head = file.read(12)
    beside = path + SIDECAR
    if head.startswith(b"\x1aE\xdf\xa3"):
        if not os.path.isfile(beside):
            return None
        form, place = "video/x-matroska", beside
    else:
        form, place = form_with_credentials(path), path
        if not form:
            return None
    need_c2pa("verify credentials")
    import c2pa

    try:
        data = None
        if place == beside:
            with open(beside, "rb") as file:
                data = file.read(_MAX_SIDECAR)
        with open(path, "rb") as film, c2pa.Reader(form, film, data, context=context(anchors)) as reader:
            return _seen(json.loads(reader.crjson()), reader.get_validation_results() or {}, place)
    except (c2pa.C2paError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return Credentials("unreadable", f"{type(error).__name__.lstrip('_')}: {str(error)[:300]}", place=place)


def _seen(said: Mapping[str, Any], results: Mapping[str, Any], place: str) -> Credentials:
    # The active manifest is the first.
    active = said["manifests"][0]
    codes = [str(one["code"]) for one in results["activeManifest"]["failure"]]
    good = [str(one["code"]) for one in results["activeManifest"]["success"]]
    bad = [code for code in codes if code != _UNTRUSTED and code not in _EXPIRED]
    bound = any(code in ("assertion.bmffHash.match", "assertion.dataHash.match") for code in good)
    certificate = active["signature"]["certificateInfo"]
    state: Literal["intact", "altered", "expired"] = "intact"
    why = ""
    if bad or not bound:
        state, why = (
            "altered",
            ", ".join(dict.fromkeys(bad)) or "the credentials say nothing about the bytes of the file",
        )
    elif any(code in _EXPIRED for code in codes):
        state, why = "expired", f"the certificate was valid until {certificate['validity']['notAfter']}"
    assertions = active["assertions"]
    claim = assertions.get(OWN)
    return Credentials(
        state,
        why,
        "signingCredential.trusted" in good,
        _named(certificate["subject"]),
        _named(certificate["issuer"]),
        str(certificate["validity"]["notAfter"]),
        _source_type(assertions),
        claim if isinstance(claim, dict) else {},  # anybody can sign anything under this name
        place,
        any("activeManifest" in said for name, said in assertions.items() if name.startswith("c2pa.ingredient")),
    )


def _named(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parts.items())


def _source_type(assertions: Mapping[str, Any]) -> str:
    found: Iterable[Any] = (
        action.get("digitalSourceType")
        for name, said in assertions.items()
        if name.startswith("c2pa.actions")
        for action in said.get("actions", ())
    )
    # The last action that states one says what the file is now.
    return str(next((said for said in reversed(list(found)) if said), ""))
