"""The C2PA manifest of an output: the actions on the source, its ingredients, and raydub's own assertion with every
hash. Terms: C2PA technical specification 2.2, chapters 18.14 (actions) and 18.16 (ingredients)."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any

from raydub.media.xmp import COMPOSITE
from raydub.stages.marks.statement import Statement

OWN = "org.raydub.dub"
"""The label of our own assertion."""
_SOURCE = "video"
_COMPONENTS = ("audio", "speech", "script", "bed_audio")


def manifest(
    said: Statement, title: str, form: str, whole: bytes | None = None, *, inherits: bool = False
) -> dict[str, Any]:
    """The manifest definition of c2pa.Builder. title: the output's file name; form: its media type; whole: SHA-256 of
    all bytes of an output whose credentials lie beside it, in place of the hash that the library makes of others;
    inherits: the source has credentials of its own, and the caller adds it with them (ingredient())."""
    tool = {"name": "raydub", "version": said.version}
    used = [name for name in _COMPONENTS if name in said.inputs]
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_SOURCE]}}
    dubbed = {
        "action": "c2pa.dubbed",
        "digitalSourceType": COMPOSITE,
        "softwareAgent": tool,
        "description": "The speech is another one.",
        "parameters": {"ingredientIds": used} if used else {},
    }
    edited = {
        "action": "c2pa.edited",
        "digitalSourceType": COMPOSITE,
        "softwareAgent": tool,
        "description": "The lips are altered to match the speech.",
        "parameters": {f"{OWN}.engine": said.engine},
    }
    own: dict[str, Any] = {
        "version": said.version,
        "job": said.job,
        "engine": said.engine,
        "weights": [{"name": name, "sha256": sha256} for name, sha256 in said.weights],
        "inputs": dict(sorted(said.inputs.items())),
    }
    more = {"consent": said.consent, "label": said.label, "tts": said.tts}
    own |= {name: value for name, value in more.items() if value is not None}
    assertions: list[dict[str, Any]] = [
        {"label": "c2pa.actions.v2", "data": {"actions": [opened, dubbed, edited]}},
        {"label": OWN, "data": own},
    ]
    if whole is not None:
        data = {"name": "all bytes of the file", "alg": "sha256", "hash": list(whole), "exclusions": [], "pad": []}
        assertions.append({"label": "c2pa.hash.data", "data": data})
    return {
        "claim_generator_info": [tool],
        "title": title,
        "format": form,
        "ingredients": [ingredient(said, name) for name in (*(() if inherits else (_SOURCE,)), *used)],
        "assertions": assertions,
    }


def ingredient(said: Statement, name: str = _SOURCE) -> Mapping[str, str]:
    """An input as an ingredient, without credentials. name: as in Job.inputs()."""
    file = said.names.get(name, name)
    return {
        "label": name,
        "title": file,
        "format": mimetypes.guess_type(file)[0] or "application/octet-stream",
        "instance_id": f"sha256:{said.inputs[name]}",
        "relationship": "parentOf" if name == _SOURCE else "componentOf",
    }
