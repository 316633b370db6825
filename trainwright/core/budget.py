"""How long may a run take? A budget in seconds, steps, examples or epochs, read from words."""

import re
from dataclasses import dataclass
from typing import Literal

from trainwright.core.phrases import phrase

Unit = Literal["seconds", "steps", "examples", "epochs"]

_UNITS: dict[str, tuple[Unit, float]] = {
    "s": ("seconds", 1), "sec": ("seconds", 1), "second": ("seconds", 1), "seconds": ("seconds", 1),
    "m": ("seconds", 60), "min": ("seconds", 60), "minute": ("seconds", 60),
    "minutes": ("seconds", 60),
    "h": ("seconds", 3600), "hour": ("seconds", 3600), "hours": ("seconds", 3600),
    "step": ("steps", 1), "steps": ("steps", 1),
    "example": ("examples", 1), "examples": ("examples", 1),
    "epoch": ("epochs", 1), "epochs": ("epochs", 1),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """An amount of training, in one unit."""

    amount: float
    unit: Unit

    def __str__(self) -> str:
        amount = f"{self.amount:g}"
        unit = self.unit[:-1] if self.amount == 1 else self.unit
        return f"{amount}s" if self.unit == "seconds" else f"{amount} {unit}"

    def steps(self, *, batch_examples: int, steps_per_epoch: int) -> int | None:
        """Steps that this budget buys, at least 1; None when it is a budget of seconds."""
        match self.unit:
            case "seconds":
                return None
            case "steps":
                count = self.amount
            case "examples":
                count = self.amount / batch_examples
            case "epochs":
                count = self.amount * steps_per_epoch
        return max(1, round(count))


def parse_budget(text: str) -> Budget:
    """`'3 epochs'` -> Budget(3, epochs).

    Raises ValueError with what is allowed.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+)\s*", text)
    known = _UNITS.get(match.group(2).lower()) if match else None
    if match is None or known is None:
        raise _no_budget(text)
    unit, factor = known
    amount = float(match.group(1)) * factor
    if not 0 < amount < 1e15:
        raise _no_budget(text)
    return Budget(amount=amount, unit=unit)


def _no_budget(text: str) -> ValueError:
    return ValueError(
        phrase(
            "{text!r} is not a budget; allowed: a positive number and a unit, as '60s', "
            "'5 minutes', '500 steps', '10000 examples', '3 epochs'",
            text=text[:40],
        )
    )


def parse_seconds(text: str) -> float | None:
    """The seconds of a budget that is a time; None for steps, examples, epochs, and for words that
    are no budget."""
    try:
        budget = parse_budget(text)
    except ValueError:
        return None
    return budget.amount if budget.unit == "seconds" else None
