"""`raydub train`: make the embedded engine's weights again, by the repository's own recipe."""

from __future__ import annotations

from cluster.output import command


@command
def train() -> int:
    """Train the network of the embedded lip engine."""
    return 0
