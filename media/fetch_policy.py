"""What may be fetched from where: one frozen record, made on the driver and sent to every worker.

By default https only: over plain http anyone on the path could replace the file, and the manifest has no digest to
detect it. Objects in buckets (s3://, gs://) are not fetched by these rules: their endpoints and credentials are the
operator's (raydub.objects).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from raydub.errors import Code, UsageError
from raydub.media.info import ProbeLimits
from raydub.partial import Patience

KNOWN_SCHEMES = ("https", "http")
DEFAULT_SCHEMES = ("https",)
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "hdfs"})
SCHEMES_VARIABLE, PRIVATE_VARIABLE = "RAYDUB_ALLOW_SCHEMES", "RAYDUB_ALLOW_PRIVATE"
_YES = frozenset({"1", "yes", "true", "on"})


@dataclass(frozen=True)
class FetchPolicy(Patience):
    """schemes: which of KNOWN_SCHEMES may be fetched; allow_private: also from loopback, private and shared networks
    (never from metadata servers, see media.fetch_address); max_bytes: of one file."""

    schemes: tuple[str, ...] = DEFAULT_SCHEMES
    allow_private: bool = False
    max_bytes: int = ProbeLimits().max_bytes
    total_seconds: float = 3600.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> FetchPolicy:
        """The default policy with what RAYDUB_ALLOW_SCHEMES (names with commas between them, or "none" for no network
        at all) and RAYDUB_ALLOW_PRIVATE (1) add. Raises UsageError URI_SCHEME for a scheme that cannot be fetched."""
        said = os.environ if environment is None else environment
        private = said.get(PRIVATE_VARIABLE, "").strip().casefold() in _YES
        return cls(schemes=allowed_schemes(said.get(SCHEMES_VARIABLE, "").split(",")), allow_private=private)

    def words(self) -> str:
        """The policy as a short string for workers; see from_words()."""
        return " ".join([",".join(self.schemes) or "none", *(["private"] if self.allow_private else [])])

    @classmethod
    def from_words(cls, words: str) -> FetchPolicy:
        """The policy of words()."""
        schemes, _, more = words.partition(" ")
        return cls(schemes=allowed_schemes(schemes.split(",")), allow_private=more == "private")


def allowed_schemes(names: Iterable[str]) -> tuple[str, ...]:
    """The default schemes and `names`; none at all if one of them is "none"; "file" is accepted and ignored.

    Raises UsageError URI_SCHEME.
    """
    wanted = [name.strip().casefold().removesuffix("://") for name in names if name.strip()]
    if "none" in wanted:
        return ()
    for name in wanted:
        if name not in KNOWN_SCHEMES and name != "file":
            raise UsageError(
                Code.URI_SCHEME,
                f"the scheme {name[:40]!r} is not supported",
                field="allow-scheme",
                hint=f"known: {', '.join(KNOWN_SCHEMES)}, or none; {store_hint(name)}",
            )
    return tuple(dict.fromkeys([*DEFAULT_SCHEMES, *(name for name in wanted if name in KNOWN_SCHEMES)]))


def store_hint(scheme: str) -> str:
    """The hint for a scheme that is not supported."""
    if scheme in OBJECT_STORES:
        return "use s3:// or gs://, a presigned https:// link, or copy the file to a disk that all workers see"
    return "copy the file to a disk that all workers see and give its path"
