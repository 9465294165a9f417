"""Plain values checked against a dataclass: unknown and missing keys, wrong types, values out of range."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from math import inf
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edgeseq_runtime.errors import UsageError

T = TypeVar("T")

_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class Bound:
    """A range a number must lie in, in words and as a test; written beside a field's type with Annotated."""

    words: str
    holds: Callable[[float], bool]


AT_LEAST_ONE = Bound("at least 1", lambda value: value >= 1)
NOT_NEGATIVE = Bound("at least 0", lambda value: 0 <= value < inf)
POSITIVE = Bound("more than 0", lambda value: 0 < value < inf)
FRACTION = Bound("more than 0 and at most 1", lambda value: 0 < value <= 1)
SHARE = Bound("more than 0 and less than 1", lambda value: 0 < value < 1)


def build(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """An instance of the dataclass `kind` from plain values; a whole number may stand for a float.

    Args:
        where: what the values are, for the message ("table 'train' of recipe.toml").

    Raises:
        UsageError: a key that the dataclass lacks, one that it needs, or a value of another type.
    """
    checked = check(kind, values, where)
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    if missing := [name for name in needed if name not in values]:
        raise UsageError(f"{where} lacks the key '{missing[0]}'")
    return kind(**checked)


def check(kind: type[Any], values: Mapping[str, Any], where: str, without: Collection[str] = ()) -> dict[str, Any]:
    """The values as the annotations of the dataclass `kind` want them. Raises UsageError like `build`.

    without: keys of the dataclass that may not be among them.
    """
    known = get_type_hints(kind, include_extras=True)
    names = [f.name for f in fields(kind) if f.name not in without]
    if unknown := [key for key in values if key not in names]:
        raise UsageError(f"{where} has the unknown key '{unknown[0]}'; known are {', '.join(names)}")
    return {key: _convert(value, known[key], f"'{key}' of {where}") for key, value in values.items()}


def _convert(value: Any, expected: Any, what: str) -> Any:
    """`value` as annotated: `expected` is a class or Literal, with a Bound or without, or a union of them."""
    options = get_args(expected) if get_origin(expected) in (Union, UnionType) else (expected,)
    kinds = [get_args(option) if get_origin(option) is Annotated else (option,) for option in options]
    for kind, *bounds in kinds:
        if not _fits(value, kind):
            continue
        for bound in bounds:
            if not bound.holds(value):
                raise UsageError(f"{what} is {value!r}, but it must be {bound.words}")
        return float(value) if kind is float else value
    raise UsageError(f"{what} is {value!r}, but it must be {_describe(kind for kind, *_ in kinds)}")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if get_origin(kind) is list:
        return type(value) is list and all(_fits(item, *get_args(kind)) for item in value)
    return type(value) is kind or (kind is float and type(value) is int)  # True is no number here


def _describe(kinds: Iterable[Any]) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    words: list[str] = []
    for kind in kinds:
        if get_origin(kind) is Literal:
            words += [repr(choice) for choice in get_args(kind)]
        elif get_origin(kind) is list:
            words.append(f"a list of {_PLURALS[get_args(kind)[0]]}")
        elif kind is not NoneType:
            words.append(names.get(kind, str(kind)))
    return " or ".join(words)
