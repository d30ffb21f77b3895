"""Numbers with units, so that dollars are never added to hours. Pure.

A unit is a product of powers: dollars a month is {"USD": 1, "month": -1}. Sums and comparisons want the same unit,
products and quotients make their own; a currency is a unit like any other, and there is no way from one to another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import copysign, inf, isnan, nan

Powers = Mapping[str, int]


class UnitError(TypeError):
    """Raised for two numbers whose units do not allow adding or comparing."""


def parse_unit(text: str) -> Powers:
    """Read the powers of a unit as it is written: `USD/month`, `token`, `USD/Mtoken`, `` for a plain number."""
    powers: dict[str, int] = {}
    for place, part in enumerate(text.split("/")):
        for name in filter(None, part.split("*")):
            powers[name] = powers.get(name, 0) + (1 if place == 0 else -1)
    return {name: power for name, power in powers.items() if power}


@dataclass(frozen=True)
class Quantity:
    """A value with its unit."""

    value: float
    powers: Powers = field(default_factory=dict)

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.value + self._same(other), self.powers)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.value - self._same(other), self.powers)

    def __mul__(self, other: "Quantity | float") -> "Quantity":
        if not isinstance(other, Quantity):
            return Quantity(self.value * other, self.powers)
        return Quantity(self.value * other.value, _combine_powers(self.powers, other.powers, 1))

    def __truediv__(self, other: "Quantity | float") -> "Quantity":
        if not isinstance(other, Quantity):
            return Quantity(divide(self.value, other), self.powers)
        return Quantity(divide(self.value, other.value), _combine_powers(self.powers, other.powers, -1))

    def __lt__(self, other: "Quantity") -> bool:
        return self.value < self._same(other)

    def __le__(self, other: "Quantity") -> bool:
        return self.value <= self._same(other)

    def __gt__(self, other: "Quantity") -> bool:
        return self.value > self._same(other)

    def __ge__(self, other: "Quantity") -> bool:
        return self.value >= self._same(other)

    def to(self, text: str) -> float:
        """Return the bare number; UnitError where the unit is another one."""
        if dict(self.powers) != dict(parse_unit(text)):
            raise UnitError(f"{self} is not in {text or 'plain numbers'}.")
        return self.value

    def __str__(self) -> str:
        over = "*".join(f"{name}^{power}" if power > 1 else name for name, power in self.powers.items() if power > 0)
        under = "".join(f"/{name}" for name, power in self.powers.items() for _ in range(-power))
        return f"{self.value:g} {over}{under}".strip()

    def _same(self, other: "Quantity") -> float:
        if not isinstance(other, Quantity) or dict(other.powers) != dict(self.powers):
            raise UnitError(f"{self} and {other} are not of one unit.")
        return other.value


def quantity(value: float, text: str) -> Quantity:
    """Make a value with a unit as it is written."""
    return Quantity(float(value), parse_unit(text))


def divide(value: float, by: float) -> float:
    """Divide as IEEE 754 does: by zero gives infinity, and zero by zero NaN."""
    if by:
        return value / by
    return nan if not value or isnan(value) else copysign(inf, value) * copysign(1.0, by)


def _combine_powers(first: Powers, second: Powers, sign: int) -> Powers:
    powers = dict(first)
    for name, power in second.items():
        powers[name] = powers.get(name, 0) + sign * power
    return {name: power for name, power in powers.items() if power}
