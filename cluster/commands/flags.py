"""Flags shared by several commands: groups of parameters that are inserted into a command's signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, get_type_hints

from typer.core import TyperCommand


@dataclass(frozen=True)
class Group:
    """Flags that replace one parameter of a command. build: makes the parameter's value from the flags' values by
    name."""

    parameters: tuple[inspect.Parameter, ...]
    build: Callable[[Mapping[str, Any]], Any]


def group_of(kind: Callable[..., Any]) -> Group:
    """The flags of a dataclass whose fields are annotated as typer parameters; the command gets an instance."""
    hints = get_type_hints(kind, include_extras=True)
    fields = inspect.signature(kind).parameters.values()
    parameters = tuple(
        field.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[field.name]) for field in fields
    )
    return Group(parameters, lambda given: kind(**given))


def takes(**groups: Group) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Replace each of these parameters of a command by the flags of its group, in the signature that typer inspects."""

    def wrap(function: Callable[..., int]) -> Callable[..., int]:
        @wraps(function)
        def call(**given: Any) -> int:
            for name, group in groups.items():
                given[name] = group.build({one.name: given.pop(one.name) for one in group.parameters})
            return function(**given)

        signature = inspect.signature(function, eval_str=True)
        own = [one for one in signature.parameters.values() if one.name not in groups]
        every = [*own, *(one for group in groups.values() for one in group.parameters)]
        named = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in every]
        call.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
        return call

    return wrap


class PanelCommand(TyperCommand):
    """A command whose help shows options by panel, as plain text."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, panel after panel in the order of their first member."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx)
            if record is not None:
                plain = "Arguments" if one.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(one, "rich_help_panel", None) or plain, []).append(record)
        for title, records in panels.items():
            with formatter.section(title):
                formatter.write_dl(records)
