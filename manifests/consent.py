"""The rule that every row says who agreed to its dubbing."""

from __future__ import annotations

from dataclasses import replace

from raydub.errors import Code, UsageError
from raydub.manifests.read import ManifestResult
from raydub.manifests.rows import BadRow


def require_consent(asked: ManifestResult) -> ManifestResult:
    """The rows of a manifest with those refused that state no consent (UsageError CONSENT, by row)."""
    kept, bad = [], list(asked.bad)
    for job in asked.jobs:
        if job.options.consent is not None:
            kept.append(job)
            continue
        error = UsageError(
            Code.CONSENT,
            "the row does not say who agreed to the dubbing",
            field="consent",
            hint="set 'consent' to the person's name and where the agreement is kept",
        )
        error.at(job=job.id, line=job.line)
        bad.append(BadRow(job.line or 0, job.id, job.row(), (error,)))
    return replace(asked, jobs=tuple(kept), bad=tuple(sorted(bad, key=lambda row: row.line)))
