"""The bill of components: what made an output, and under which licences."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Component(BaseModel):
    """component: its name; kind: what it did, such as "landmarks"; version: a release, or the sha256 of a file;
    licence: its name or terms; commercial: does that allow commercial use ("true", "false" or "unknown")?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    component: str
    kind: str
    version: str
    licence: str
    commercial: Literal["true", "false", "unknown"]
