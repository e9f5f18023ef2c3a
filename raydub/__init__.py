"""raydub: batch dubbing with matching lips, at any scale. This package has the version, the errors, and the names of
the Python API (cluster.api), which is imported on first use."""

import sys
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

__version__ = "0.1.0"

if _TYPE_CHECKING:
    from raydub.cluster.api import Progress, Result, RunResult, dub, run
    from raydub.errors import RaydubError

if sys.version_info < (3, 11):  # noqa: UP036  pip checks this, but nothing checks it in a checkout
    raise ImportError(
        f"raydub needs Python 3.11 or newer, and this is {sys.version.split()[0]} at {sys.executable}", name=__name__
    )

__all__ = ["Progress", "RaydubError", "Result", "RunResult", "__version__", "dub", "run"]

_FROM = {name: "raydub.cluster.api" for name in ("Progress", "Result", "RunResult", "dub", "run")}
_FROM["RaydubError"] = "raydub.errors"


def __getattr__(name: str) -> _Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_FROM[name]), name)
