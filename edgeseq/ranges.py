"""What a search tries for a setting: a range of numbers or a list of choices, as a recipe's table `tune` has them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from edgeseq_runtime.errors import UsageError

from edgeseq import schema

Number = int | float


@dataclass(frozen=True)
class Range:
    """All numbers from low to high; only whole ones where both ends are.

    log: as many in each order of magnitude. step: of whole numbers only every so many, from low on.
    """

    low: Number
    high: Number
    log: bool = False
    step: int = 1

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return type(self.low) is int and type(self.high) is int

    @property
    def ends(self) -> tuple[Any, ...]:
        """What must be allowed for all of it to be."""
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        """Whether the search could try this value."""
        number = type(value) is int or (type(value) is float and not self.whole)
        return number and self.low <= value <= self.high and (not self.whole or (value - self.low) % self.step == 0)

    def plain(self) -> Any:
        """As a recipe writes it."""
        return self._table() if self.log or self.step > 1 else [self.low, self.high]

    def _table(self) -> dict[str, Any]:
        log: dict[str, Any] = {"log": True} if self.log else {}
        return {"low": self.low, "high": self.high, **log, **({"step": self.step} if self.step > 1 else {})}

    def __str__(self) -> str:
        steps = f" by {self.step}" if self.step > 1 else ""
        return f"{self.low} to {self.high}{steps}" + (" (logarithmic)" if self.log else "")


@dataclass(frozen=True)
class Choices:
    """One of several values, in no order."""

    options: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """What must be allowed."""
        return self.options

    def holds(self, value: Any) -> bool:
        """Whether the search could try this value."""
        return any(value == option and type(value) is type(option) for option in self.options)

    def plain(self) -> Any:
        """As a recipe writes it."""
        return list(self.options)

    def __str__(self) -> str:
        return " or ".join(map(str, self.options))


def parse(value: Any, what: str) -> Range | Choices:
    """A range or choices from a recipe's plain value.

    [0.1, 1.5] and [100, 500] are ranges, { low, high, log, step } too; any other list of at least two is of choices.

    Raises:
        UsageError: neither, a range that holds nothing, or a choice that is infinite or NaN. what: whose value it is,
            for the message.
    """
    if isinstance(value, Mapping):
        return _checked(schema.build(Range, value, what), what)
    if type(value) is not list or len(value) < 2:
        raise UsageError(
            f"{what} is {value!r}, but it must be a range such as [0.1, 1.5], a list of at least two choices, or a "
            "table with low, high, and log or step"
        )
    if len(value) == 2 and all(type(end) in (int, float) for end in value):
        return _checked(Range(*value), what)
    if endless := [choice for choice in value if type(choice) is float and not isfinite(choice)]:
        raise UsageError(f"{what} names {endless[0]}, but a choice must be a finite number")
    return Choices(distinct(value, what))


def distinct(values: list[Any], what: str) -> tuple[Any, ...]:
    """The values of a list. Raises UsageError where one is there twice."""
    texts = [json.dumps(value, default=str) for value in values]
    if twice := [value for value, text in zip(values, texts, strict=True) if texts.count(text) > 1]:
        raise UsageError(f"{what} names {twice[0]!r} twice")
    return tuple(values)


def _checked(found: Range, what: str) -> Range:
    shown = f"{what} runs from {found.low} to {found.high}"
    if not (isfinite(found.low) and isfinite(found.high) and found.low < found.high):
        raise UsageError(f"{shown}, but the first must be the smaller of two finite numbers")
    if found.log and found.low <= 0:
        raise UsageError(f"{shown}, but a logarithmic range must start above 0")
    if found.step != 1 and (found.log or not found.whole or found.step < 1 or (found.high - found.low) % found.step):
        raise UsageError(
            f"{shown} by {found.step}, but a step is for whole numbers without log, leading from the first to the last"
        )
    return found
