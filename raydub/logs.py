"""Log lines on stderr, the same from all processes of a run."""

from __future__ import annotations

import logging
import sys


def set_up_logging(verbose: bool) -> None:
    """Log warnings on stderr; with verbose, also debug messages of raydub."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, level=logging.WARNING
    )
    if verbose:
        logging.getLogger("raydub").setLevel(logging.DEBUG)
