"""Which non-linearity does a call of a torch function apply, and where is it flat?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonlinearity:
    """Where its slope is below 0.05 of its largest (sigmoid and tanh: 0.07): x <= low, x >= high.

    `rectifies`: what lies at or below `low` is set to (nearly) zero, which is how it works;
    the flat part of the others is saturation.
    """

    name: str
    low: float | None = None
    high: float | None = None
    rectifies: bool = False


# Where |slope| falls below 0.05 [measured: bisection on autograd, tests/watch/test_readings.py];
# sigmoid and tanh a little earlier, at round numbers.
FLAT: Mapping[str, tuple[float | None, float | None, bool]] = {
    "relu": (0.0, None, True), "relu6": (0.0, 6.0, True), "threshold": (0.0, None, True),
    "gelu": (-2.35, None, True), "silu": (-4.08, None, True), "mish": (-4.11, None, True),
    "elu": (-3.0, None, True), "celu": (-3.0, None, True), "selu": (-3.56, None, True),
    "softplus": (-2.94, None, True), "hardswish": (-3.0, None, True),
    "sigmoid": (-4.0, 4.0, False), "tanh": (-2.6, 2.6, False), "softsign": (-3.47, 3.47, False),
    "hardsigmoid": (-3.0, 3.0, False), "hardtanh": (-1.0, 1.0, False),
    "logsigmoid": (None, 2.94, False), "tanhshrink": (None, None, False),
    "softmax": (None, None, False), "log_softmax": (None, None, False),
    "leaky_relu": (None, None, False), "prelu": (None, None, False), "rrelu": (None, None, False),
    "glu": (None, None, False), "softshrink": (None, None, False),
    "hardshrink": (None, None, False), "clamp": (None, None, False),
    "clamp_min": (None, None, False), "clip": (None, None, False),
    "softmin": (None, None, False), "exp": (None, None, False), "expm1": (None, None, False),
    "sinh": (None, None, False), "cosh": (None, None, False), "square": (None, None, False),
    "pow": (None, None, False),
}  # fmt: skip


def nonlinearity(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Nonlinearity | None:
    """The non-linearity that a call of the function `name` applies; None when it is none."""
    name = "silu" if name == "swish" else name.rstrip("_") if not name.startswith("_") else name
    if name not in FLAT or (name == "pow" and not _is_power(args, kwargs)):
        return None
    low, high, rectifies = FLAT[name]
    if name == "leaky_relu":
        slope = kwargs.get("negative_slope", args[1] if len(args) > 1 else 0.01)
        if isinstance(slope, (int, float)) and abs(slope) < 0.05:
            low, rectifies = 0.0, True
    elif name == "hardtanh":
        low = kwargs.get("min_val", args[1] if len(args) > 1 else -1.0)
        high = kwargs.get("max_val", args[2] if len(args) > 2 else 1.0)
        if (low, high) == (0.0, 6.0):
            name, rectifies = "relu6", True
    elif name in ("clamp", "clip", "clamp_min"):
        low = kwargs.get("min", args[1] if len(args) > 1 else None)
        high = (
            None if name == "clamp_min" else kwargs.get("max", args[2] if len(args) > 2 else None)
        )
        low = float(low) if isinstance(low, (int, float)) else None
        high = float(high) if isinstance(high, (int, float)) else None
        if low is None and high is None:
            return None
        rectifies = low == 0.0 and high is None
        name = "relu" if rectifies else "clamp"
    return Nonlinearity(name=name, low=low, high=high, rectifies=rectifies)


def _is_power(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """x ** 3, not 3 ** x, nor x ** 1."""
    exponent = kwargs.get("exponent", args[1] if len(args) > 1 else None)
    turned = bool(args) and isinstance(args[0], (int, float))
    return isinstance(exponent, (int, float)) and exponent != 1 and not turned
