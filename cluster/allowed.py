"""What the operator of a run allows, recorded in the environment: this process looks for it there, and workers are
told."""

from __future__ import annotations

import os
from collections.abc import Sequence

from raydub.media.fetch_policy import PRIVATE_VARIABLE, SCHEMES_VARIABLE, allowed_schemes
from raydub.pipeline.engines import LICENCE_VARIABLE
from raydub.tts.engines.find import COMMAND_VARIABLE

VARIABLES = (LICENCE_VARIABLE, SCHEMES_VARIABLE, PRIVATE_VARIABLE, COMMAND_VARIABLE)


def accept_licences(names: Sequence[str] | None) -> None:
    """Record accepted licences where this process and its Ray workers look for them."""
    if names:
        # By the flag first: of several ways that stand there the first one is told.
        known = [name for name in os.environ.get(LICENCE_VARIABLE, "").split(",") if name]
        os.environ[LICENCE_VARIABLE] = ",".join(dict.fromkeys([*(f"{name}:flag" for name in names), *known]))


def allow_fetching(schemes: Sequence[str] | None, private: bool) -> None:
    """Record what may be fetched where this process looks for it; workers are told (WorkSettings.fetch). Raises
    UsageError URI_SCHEME for a scheme that cannot be fetched."""
    if schemes:
        said = [*os.environ.get(SCHEMES_VARIABLE, "").split(","), *schemes]
        allowed_schemes(said)
        os.environ[SCHEMES_VARIABLE] = ",".join(dict.fromkeys(name for name in said if name))
    if private:
        os.environ[PRIVATE_VARIABLE] = "1"


def use_command(command: str | None) -> None:
    """Record the operator's speech program where this process looks for it; workers are told
    (WorkSettings.tts_command). It never comes from a manifest, which may be a stranger's."""
    if command is not None:
        os.environ[COMMAND_VARIABLE] = command
