"""Permissions of a run's operator (licences, addresses, speech program, certificate), kept in environment variables and
passed to workers."""

from __future__ import annotations

import os
from collections.abc import Sequence

from raydub.media.fetch_policy import PRIVATE_VARIABLE, SCHEMES_VARIABLE, allowed_schemes
from raydub.pipeline.engines import LICENCE_VARIABLE
from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE
from raydub.tts.engines.find import COMMAND_VARIABLE

VARIABLES = (LICENCE_VARIABLE, SCHEMES_VARIABLE, PRIVATE_VARIABLE, COMMAND_VARIABLE, CERT_VARIABLE, KEY_VARIABLE)


def accept_licences(names: Sequence[str] | None) -> None:
    """Record accepted licences in the environment."""
    if names:
        # The flag first: results name the first of several ways of consent.
        known = [name for name in os.environ.get(LICENCE_VARIABLE, "").split(",") if name]
        os.environ[LICENCE_VARIABLE] = ",".join(dict.fromkeys([*(f"{name}:flag" for name in names), *known]))


def allow_fetching(schemes: Sequence[str] | None, private: bool) -> None:
    """Record in the environment which addresses may be fetched; workers get it by WorkSettings.fetch. Raises UsageError
    URI_SCHEME for an unsupported scheme."""
    if schemes:
        said = [*os.environ.get(SCHEMES_VARIABLE, "").split(","), *schemes]
        allowed_schemes(said)
        os.environ[SCHEMES_VARIABLE] = ",".join(dict.fromkeys(name for name in said if name))
    if private:
        os.environ[PRIVATE_VARIABLE] = "1"


def use_command(command: str | None) -> None:
    """Record the operator's speech program in the environment; workers get it by WorkSettings.tts_command. It never
    comes from a manifest, which is not trusted."""
    if command is not None:
        os.environ[COMMAND_VARIABLE] = command


def signing_words() -> str:
    """How outputs are signed, for RunRequest.signing; "" for not at all. The certificate and the key are checked now,
    before anything runs: raises as stages.marks.certificate.find_signer does."""
    from raydub.stages.marks.certificate import find_signer

    found = find_signer()
    return "" if found is None else found.signing.words()
