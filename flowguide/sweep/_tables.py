"""Tables of a TOML file as frozen dataclasses, with errors that name the key."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

Record = TypeVar("Record")


def from_table(kind: type[Record], table: Any, where: str) -> Record:
    """A dataclass, of the types that `convert` knows, from a table with its fields' names as keys.
    A `ValueError` says what is wrong in the table, which it calls `where`."""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    check_keys(table, fields, where)
    hints = typing.get_type_hints(kind)
    values = {key: convert(value, hints[key], f"{key} in {where}") for key, value in table.items()}
    missing = [name for name, field in fields.items() if _is_needed(field) and name not in values]
    if missing:
        raise ValueError(f"{where} lacks {missing[0]}.")
    return kind(**values)


def check_keys(table: Any, known: Any, where: str) -> None:
    """Refuses what is no table, or a table with a key that is not known."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} must be a table, got {table!r}.")
    unknown = [key for key in table if key not in known]
    if unknown:
        raise ValueError(
            f"{where} has the unknown key {unknown[0]!r}: expected some of {sorted(known)}."
        )


def convert(value: Any, hint: Any, where: str) -> Any:
    """A value of TOML or JSON as the type that a field has.

    Types are strings, paths, numbers, truth values, literals, tuples of one type, tables, and
    these or None. An integer serves as a float; anything else is a `ValueError`.
    """
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return convert(value, options[0], where)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return convert(value, next(o for o in options if o is not type(None)), where)
    if origin is Literal:
        if value in options:
            return value
        raise ValueError(f"{where} must be one of {list(options)}, got {value!r}.")
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(convert(each, options[0], f"each of {where}") for each in value)
        raise ValueError(f"{where} must be a list, got {value!r}.")
    if origin is dict:
        if isinstance(value, dict):
            return value
        raise ValueError(f"{where} must be a table, got {value!r}.")
    accepted, shown = {
        str: (str, "a string"),
        Path: ((str, Path), "a string with a path"),
        int: (int, "an integer"),
        float: ((int, float), "a number"),
        bool: (bool, "true or false"),
    }[hint]
    # A truth value is an integer, for Python.
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} must be {shown}, got {value!r}.")
    return hint(value)


def _is_needed(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing
