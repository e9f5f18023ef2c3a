"""raydub: batch dubbing with matching lips, at any scale. This package is the ground floor: version and errors."""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # noqa: UP036  pip refuses an older one; a checkout has nobody else to say so
    raise ImportError(
        f"raydub needs Python 3.11 or newer, and this is {sys.version.split()[0]} at {sys.executable}", name=__name__
    )
