"""What a check of `raydub doctor` found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Check:
    """One finding. state: ok, note (works, could be better), missing (raydub cannot work without it)."""

    name: str
    state: State
    found: str
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)
