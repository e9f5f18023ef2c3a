"""The report of a run: what became of each row, as pages that need no network and no server."""
