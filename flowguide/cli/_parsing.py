"""What tyro makes of a dataclass, where a reader is better served than by its own rules."""

import contextlib
import dataclasses
import io
import math
import sys
from collections.abc import Sequence
from typing import Any, get_type_hints

import docstring_parser
import tyro
from tyro.constructors import (
    ConstructorRegistry,
    MISSING_NONPROP,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from .._system.progress import make_console

_REGISTRY = ConstructorRegistry()
_NUMBERS = {int: ("an integer", "INT"), float: ("a number", "FLOAT")}


def read(kind: Any, arguments: Sequence[str], prog: str, description: str, **options: Any) -> Any:
    """What the arguments say, as an object of a dataclass.

    **Arguments:**

    - `kind`: the dataclass, or a union of subcommands.
    - `arguments`: the words after the command.
    - `prog`, `description`: for its help.
    - `options`: as `tyro.cli` takes them.

    **Raises:**

    `SystemExit` after help, and for what cannot be read.
    """
    shown = _Shown()
    try:
        with contextlib.redirect_stdout(shown):
            return tyro.cli(
                kind,
                args=arguments,
                prog=prog,
                description=description,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
                registry=_REGISTRY,
                **options,
            )
    except SystemExit:
        _print(shown.getvalue())
        raise


class _Shown(io.StringIO):
    """Help before it is shown. tyro asks where it goes to."""

    def isatty(self) -> bool:
        return sys.__stdout__ is not None and sys.__stdout__.isatty()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return getattr(sys.__stdout__, "encoding", None) or "utf-8"


def _print(text: str) -> None:
    """tyro fits its boxes to the terminal, and neither the usage nor the description."""
    from rich.text import Text

    if text:
        make_console().print(Text.from_ansi(text), end="")


@_REGISTRY.struct_rule
def _fields(info: StructTypeInfo) -> StructConstructorSpec | None:
    """tyro's own rule keeps the line breaks of a docstring whose lines are indented."""
    # tyro has dataclasses of its own, around ours.
    is_ours = info.type.__module__.startswith(__name__.partition(".")[0] + ".")
    if not is_ours or not dataclasses.is_dataclass(info.type):
        return None
    documented = docstring_parser.parse_from_object(info.type).params
    texts = {each.arg_name: " ".join((each.description or "").split()) for each in documented}
    hints = get_type_hints(info.type, include_extras=True)
    fields = tuple(
        StructFieldSpec(
            name=field.name,
            type=hints[field.name],
            default=_default(field, info.default),
            helptext=texts.get(field.name),
        )
        for field in dataclasses.fields(info.type)
    )
    return StructConstructorSpec(instantiate=info.type, fields=fields)


def _default(field: dataclasses.Field, parent: Any) -> Any:
    if dataclasses.is_dataclass(parent):
        return getattr(parent, field.name)
    if parent is tyro.MISSING:
        return tyro.MISSING
    return MISSING_NONPROP if field.default is dataclasses.MISSING else field.default


@_REGISTRY.primitive_rule
def _numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """tyro's own rules say of numbers that cannot be read only that there is no valid parse."""
    for kind, (_, metavar) in _NUMBERS.items():
        if info.type == tuple[kind, ...]:
            return _spec(kind, "*", f"[{metavar} [{metavar} ...]]", tuple)
        if info.type == kind | None:
            return _spec(kind, 1, f"{{None}}|{metavar}", (kind, type(None)))
        if info.type is kind:
            return _spec(kind, 1, metavar, kind)
    return None


def _spec(
    kind: type, nargs: Any, metavar: str, types: type | tuple[type, ...]
) -> PrimitiveConstructorSpec:
    def parse(texts: list[str]) -> Any:
        if nargs == "*":
            return tuple(_number(kind, text) for text in texts)
        is_none = metavar.startswith("{None}") and texts == ["None"]
        return None if is_none else _number(kind, texts[0])

    return PrimitiveConstructorSpec(
        nargs=nargs,
        metavar=metavar,
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, types) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(x) for x in (value if nargs == "*" else [value])],
    )


def _number(kind: type, text: str) -> Any:
    name, _ = _NUMBERS[kind]
    try:
        return kind(text)
    except ValueError as error:
        several = text.replace(",", " ").split()
        advice = ""
        if len(several) > 1:
            advice = " Several numbers have spaces between them, such as 1 3 10."
            wrong = [part for part in several if not _is_number(part)]
            if wrong:
                advice = f" Nor is {wrong[0]!r} in it.{advice}"
        elif _is_number(text) and float(text).is_integer():
            advice = f" Write {float(text):.0f}."
        raise ValueError(f"{text!r} is not {name}.{advice}") from error


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
