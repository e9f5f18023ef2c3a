"""The pages of a report from its data: templates with escaping, the data for their scripts, and what they may load."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raydub.cluster.report.texts import for_script, shown
from raydub.cluster.report.words import amount, clock, long_time, percent
from raydub.errors import Code, DependencyError

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).resolve().parent
STYLE, PLOTLY = "report.css", "plotly.min.js"
SCRIPTS = ("theme.js", "table.js", "player.js", "plots.js", "start.js")
MARK = "raydub-report"
"""The generator that a page of ours names."""
_HINT = "pip install 'raydub[report]'"


@dataclass(frozen=True)
class Assets:
    """What all pages share, as text."""

    style: str
    script: str
    plotly: str

    @property
    def hashes(self) -> str:
        """Sources for a policy that allows these two scripts and no other."""
        return " ".join(f"'sha256-{_digest(text)}'" for text in (self.script, self.plotly))


@functools.cache
def assets() -> Assets:
    """Raises DependencyError DEPENDENCY_MISSING without the extra."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise missing() from error
    texts = [(HERE / "static" / name).read_text(encoding="utf-8") for name in SCRIPTS]
    # A page has no carriage returns once it is parsed, and hashes are of what is parsed.
    plotly = str(get_plotlyjs()).replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")
    return Assets((HERE / "static" / STYLE).read_text(encoding="utf-8"), "\n".join(texts), plotly)


def missing() -> DependencyError:
    """The error for a raydub without the extra `report`."""
    return DependencyError(
        Code.DEPENDENCY_MISSING, "a report needs plotly and Jinja2, which are not installed", hint=_HINT
    )


@functools.cache
def templates() -> jinja2.Environment:
    """All output is escaped; a name that a template misspells is an error. Raises DependencyError."""
    try:
        import jinja2
    except ImportError as error:
        raise missing() from error
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "shown": shown,
        "clock": clock,
        "long_time": long_time,
        "percent": percent,
        "amount": amount,
        "json": lambda value: _safe(for_script(value)),
    }
    return made


def _safe(text: str) -> Any:
    """Of for_script, which leaves no sign that HTML reads."""
    from markupsafe import Markup

    return Markup(text)


def render(name: str, context: Mapping[str, Any]) -> Iterable[bytes]:
    """A page in pieces: one with media is too large to be put together in memory twice."""
    return (piece.encode() for piece in templates().get_template(name).generate(**context))


def in_base64(path: str) -> str:
    """The content of a file as text."""
    return base64.b64encode(Path(path).read_bytes()).decode("ascii")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
