"""What the page was started with: one frozen record for its process."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from raydub.errors import Code, UsageError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class UiSettings:
    """folder: absolute, of everything that users upload and make; media: a folder whose files everybody may choose,
    None for none; max_upload_mb: of one file; runs_at_once: others wait; token: asked for in the URL, "" for none;
    use_ray, address, workers, device: as flags of `raydub run`."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8501
    token: str = ""
    media: Path | None = None
    max_upload_mb: int = 500
    runs_at_once: int = 1
    use_ray: bool = False
    address: str | None = None
    workers: int | None = None
    device: str = "auto"

    @property
    def is_open(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self.host)

    def flags(self) -> list[str]:
        """Where runs work, as flags of `raydub run`."""
        found = ["--address", self.address] if self.address else ["--ray"] if self.use_ray else ["--no-ray"]
        if self.workers is not None:
            found += ["--workers", str(self.workers)]
        return [*found, "--device", self.device]


_current: list[UiSettings] = []


def use(settings: UiSettings) -> None:
    """Set the settings of this process, before the page is served."""
    _current[:] = [settings]


def current() -> UiSettings:
    """The settings of this process. Raises UsageError FIELD_MISSING where none were set."""
    if not _current:
        message = "the page was not started by raydub"
        raise UsageError(Code.FIELD_MISSING, message, hint="start it with `raydub ui`")
    return _current[0]


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is of this machine only."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
