"""The certificates that are trusted for https."""

from __future__ import annotations

import os
import ssl
from typing import Any


def trust(more: str = "") -> ssl.SSLContext:
    """A context that trusts the system's certificates (or those of SSL_CERT_FILE and SSL_CERT_DIR), certifi's if the
    system has none, and those in the file or folder `more`. A connection closed without a TLS close message is an
    error, because the data may be truncated."""
    context = _Strict(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    places = ssl.get_default_verify_paths()
    if places.cafile is None and places.capath is None:
        import certifi

        context.load_verify_locations(certifi.where())
    if more:
        context.load_verify_locations(**{"capath" if os.path.isdir(more) else "cafile": more})
    return context


class _Strict(ssl.SSLContext):
    def wrap_socket(self, *args: Any, **settings: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **{**settings, "suppress_ragged_eofs": False})
