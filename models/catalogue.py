"""Published weight files that raydub knows by digest, and the consent that non-commercial ones need."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from raydub.errors import Code, DependencyError

ACCEPT_VARIABLE = "RAYDUB_ACCEPT_LICENSE"
WAV2LIP_LICENCE = "wav2lip-noncommercial"
CUSTOM_LICENCE = "custom"
"""Licence of weights that are in no catalogue: raydub cannot know; their owner does."""


@dataclass(frozen=True)
class Published:
    """A file of the catalogue. consent: the licence must be accepted by name before the file is used."""

    name: str
    licence: str
    consent: bool


_TERMS = "research, academic and personal use only; trained on LRS2"
_WAV2LIP = {
    "wav2lip.pth": "b78b681b68ad9fe6c6fb1debc6ff43ad05834a8af8a62ffc4167b7b34ef63c37",
    "wav2lip_gan.pth": "ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8",
    "wav2lip.onnx": "902d7719f0ebbd461f956da8f603f02e84c019d8d64cfe25402a217605b2e690",
    "wav2lip_gan.onnx": "4e67552e9bb8f981eab6d8a03ab3436fa57c3c450704512969bf51f88ccb2d28",
}
PUBLISHED = {digest: Published(name, WAV2LIP_LICENCE, consent=True) for name, digest in _WAV2LIP.items()}
"""By sha256."""


def licence_of(sha256: str, accepted: Collection[str] = ()) -> str:
    """Name of the licence of the file with this digest: "custom" where it is not in the catalogue.

    DependencyError (LICENCE, exit 3) for a non-commercial file whose licence stands neither in `accepted` nor in the
    comma-separated environment variable RAYDUB_ACCEPT_LICENSE.
    """
    known = PUBLISHED.get(sha256.lower())
    if known is None:
        return CUSTOM_LICENCE
    given = {*accepted, *(name.strip() for name in os.environ.get(ACCEPT_VARIABLE, "").split(","))}
    if known.consent and known.licence not in given:
        raise DependencyError(
            Code.LICENCE,
            f"{known.name} is published under non-commercial terms ({_TERMS})",
            hint=f"if you accept them: --accept-license {known.licence}, or {ACCEPT_VARIABLE}={known.licence}",
        )
    return known.licence
