"""Flags for credentials and consent."""

from __future__ import annotations

from typing import Annotated

import typer

from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE, is_pem

_PANEL = "Credentials and consent"


def _no_pem(text: str | None) -> str | None:
    """Refuse the content of a file before it is kept or sent anywhere."""
    if text is not None and is_pem(text):
        raise typer.BadParameter("give the path of a file, not its content")
    return text


Certificate = Annotated[
    str | None,
    typer.Option(
        "--c2pa-cert",
        metavar="FILE",
        callback=_no_pem,
        help=f"Sign outputs with this certificate (PEM, with its issuers); default: {CERT_VARIABLE}.",
        rich_help_panel=_PANEL,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--c2pa-key",
        metavar="FILE",
        callback=_no_pem,
        help=f"Private key of that certificate (PEM); default: {KEY_VARIABLE}.",
        rich_help_panel=_PANEL,
    ),
]
RequireConsent = Annotated[
    bool,
    typer.Option(
        "--require-consent",
        help="Refuse rows whose field `consent` does not say who agreed to the dubbing.",
        rich_help_panel=_PANEL,
    ),
]
