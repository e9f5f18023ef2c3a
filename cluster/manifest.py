"""Load manifests for commands: rows of the file, with flags as defaults, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from raydub.cluster.commands.options import with_defaults
from raydub.errors import UsageError
from raydub.manifests.formats import raw_rows
from raydub.manifests.read import ManifestResult, check_rows


def load_manifest(path: Path, output_root: Path | None, defaults: Mapping[str, str]) -> ManifestResult:
    """Read and check a manifest, with `defaults` for fields that a row leaves out. Raises UsageError MANIFEST_*."""
    rows = [
        (line, row if isinstance(row, UsageError) else with_defaults(row, defaults)) for line, row in raw_rows(path)
    ]
    folder = Path(os.path.realpath(path)).parent
    return check_rows(rows, folder, folder if output_root is None else Path(os.path.realpath(output_root)))
