"""Evaluations in the work folder: the document of a finished output, kept under a key of the output's content, the job,
the thresholds, and the code that measures. An evaluation is made again only when one of these is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raydub.blobs import verified
from raydub.errors import RaydubError
from raydub.manifests.evaluation import FORMAT, Evaluation
from raydub.sealed import key_of
from raydub.stages.code import EVALUATING, running
from raydub.stages.evaluate.lse_weights import lse_digest
from raydub.stages.evaluate.thresholds import Thresholds, load_thresholds, parse_thresholds
from raydub.stages.evaluate.verdict import messages
from raydub.store import Store


class Evaluations:
    """The evaluations of one work folder. thresholds: text of a thresholds' file, "" for raydub's own."""

    def __init__(self, store: Store, thresholds: str = "") -> None:
        self._store = store
        self._text = thresholds

    @property
    def thresholds(self) -> Thresholds:
        """Those that give the verdicts. Raises UsageError for a text that is no thresholds' file."""
        return parse_thresholds(self._text, "--thresholds") if self._text else load_thresholds()

    def columns(self, key: str, output: str) -> dict[str, Any] | None:
        """The columns of a result whose output has been evaluated; None if it was not, or the document is damaged.
        key: the job's, as pipeline.finished.keyed says; output: SHA-256."""
        try:
            kept = self._store.get(self._name(key, output))
            if kept is None:
                return None
            found = Evaluation.from_json(verified(kept.path).read_bytes())
            return columns_of(found, self._address(kept.sha256))
        except (OSError, ValueError, RaydubError):
            return None

    def keep(self, key: str, found: Evaluation) -> dict[str, Any]:
        """Store an evaluation; returns its columns. Raises StageError STORAGE or DISK_FULL."""
        name = self._name(key, found.output_sha256)
        kept = self._store.put(name, found.to_json(), ".json", {"verdict": found.verdict})
        return columns_of(found, self._address(kept.sha256))

    def _name(self, key: str, output: str) -> str:
        code = running(EVALUATING)
        name = key_of([FORMAT, key, output, self.thresholds.digest, lse_digest(), code])
        return f"evaluations/{name[:2]}/{name}"

    def _address(self, sha256: str) -> str:
        return f"{self._store.place}/blobs/{sha256[:2]}/{sha256}.json"


def columns_of(found: Evaluation, address: str | None) -> dict[str, Any]:
    """verdict, reasons, evaluation of a JobResult."""
    return {"verdict": found.verdict, "reasons": messages(found.reasons), "evaluation": address}


def evaluated(result: Mapping[str, Any]) -> bool:
    """Has this result, as a document, an evaluation?"""
    return result.get("verdict") is not None
