"""The thresholds' file: which figures make a film worth a look, or bad."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from raydub.errors import Code, UsageError
from raydub.manifests.evaluation import Verdict
from raydub.places import PathLike
from raydub.regular import read_regular
from raydub.stages.evaluate.names import JUDGED

DEFAULT = Path(__file__).with_name("thresholds.toml")
_MOST_BYTES = 1 << 20


class Limit(BaseModel):
    """One figure's limits, each optional; see thresholds.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)

    what: str
    unit: str = ""
    look_below: float | None = None
    bad_below: float | None = None
    look_above: float | None = None
    bad_above: float | None = None
    segments: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Limit:
        order = [self.bad_below, self.look_below, self.look_above, self.bad_above]
        known = [one for one in order if one is not None]
        if not known:
            raise ValueError("it has no limit")
        if known != sorted(known):
            raise ValueError("bad_below <= look_below <= look_above <= bad_above does not hold")
        return self

    def judge(self, value: float) -> tuple[Verdict, float] | None:
        """The verdict on a value and the limit it is beyond; None if it is good."""
        for verdict, below, above in (
            ("bad", self.bad_below, self.bad_above),
            ("look", self.look_below, self.look_above),
        ):
            if below is not None and value < below:
                return verdict, below  # type: ignore[return-value]
            if above is not None and value > above:
                return verdict, above  # type: ignore[return-value]
        return None


@dataclass(frozen=True)
class Thresholds:
    """limits: by figure; digest: SHA-256 of the file; text: the file."""

    limits: Mapping[str, Limit]
    digest: str
    text: str = ""


def load_thresholds(path: PathLike | None = None) -> Thresholds:
    """Read a thresholds' file, by default the one that ships with raydub. Raises UsageError MANIFEST_UNREADABLE,
    MANIFEST_SYNTAX, FIELD_UNKNOWN, FIELD_VALUE, each with the figure and the way out."""
    try:
        data = read_regular(DEFAULT if path is None else path, _MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES >> 20} MB")
    except (OSError, ValueError) as error:
        hint = "give a TOML file; docs/evaluate.md shows one"
        raise UsageError(Code.MANIFEST_UNREADABLE, f"thresholds {path} cannot be read: {error}", hint=hint) from error
    name = DEFAULT.name if path is None else str(path)
    try:
        return parse_thresholds(data.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        raise UsageError(Code.MANIFEST_SYNTAX, f"{name} is no UTF-8: {error}", hint="see docs/evaluate.md") from error


def parse_thresholds(text: str, name: str) -> Thresholds:
    """As load_thresholds, of a file's text. name: of the file, for errors."""
    return Thresholds(_parsed(text, name, JUDGED), hashlib.sha256(text.encode()).hexdigest(), text)


def _parsed(text: str, name: str, known: Mapping[str, object]) -> dict[str, Limit]:
    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(Code.MANIFEST_SYNTAX, f"{name} is no TOML: {why}", hint="see docs/evaluate.md") from error
    limits: dict[str, Limit] = {}
    for figure, table in said.items():
        if figure not in known:
            hint = f"figures with thresholds: {', '.join(sorted(known))}"
            raise UsageError(Code.FIELD_UNKNOWN, f"{name}: there is no figure {figure!r}", hint=hint, field=figure)
        try:
            limits[figure] = Limit.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join([figure, *map(str, first["loc"])])
            hint = "numbers for look_below, bad_below, look_above, bad_above; texts for what and unit; segments = true"
            raise UsageError(Code.FIELD_VALUE, f"{name}: {where}: {first['msg']}", hint=hint, field=where) from error
    return limits
