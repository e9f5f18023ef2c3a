"""Flags shared by several commands: groups of parameters that are inserted into a command's signature."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, get_type_hints

from typer.core import TyperCommand, TyperGroup

from raydub.cluster.output import say_json
from raydub.errors import Code, UsageError


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


class JsonErrors(TyperGroup):
    """Commands that answer with one JSON document after --json, also where the call is wrong."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **more: Any) -> Any:  # type: ignore[override]
        """See typer; with --json, a wrong call is also shown as a document."""
        words = list(sys.argv[1:] if args is None else args)
        if not more.pop("standalone_mode", True):
            return super().main(words, prog_name, standalone_mode=False, **more)
        if "--json" not in words:
            return super().main(words, prog_name, **more)
        try:
            code = super().main(words, prog_name, standalone_mode=False, **more)
        except Exception as error:
            # Newer typer vendors click, whose exceptions then have no public name.
            if not hasattr(error, "format_message"):
                raise
            known = UsageError(Code.FIELD_VALUE, error.format_message(), hint="see --help")
            say_json({"error": known.to_dict()})
            error.show()  # type: ignore[attr-defined]
            sys.exit(known.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


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
