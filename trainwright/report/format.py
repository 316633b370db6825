"""How is a number shown to a person? Metrics, counts, durations, bytes and dates as short text."""

import math
from datetime import UTC, datetime

from trainwright.core.records import Metric

# Metrics that live in [0, 1] share three decimals, so that columns align; the rest have a unit.
_SHARES = frozenset(
    {"accuracy", "balanced_accuracy", "average_precision", "roc_auc", "ece", "f1_macro", "r2",
     "precision", "recall", "f1"}
)  # fmt: skip
MISSING = "–"
MINUS = "−"


def number(value: float | None, digits: int = 4) -> str:
    """`digits` significant figures: 12345.6 -> 12,346; 0.012345 -> 0.01235; 1.2e-06 as it is."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    size = abs(float(f"{value:.{digits - 1}e}"))  # rounded first: 999.96 has four figures before
    if size != 0 and (size < 1e-4 or size >= 1e9):  # the point, not three
        text = f"{value:.{max(0, digits - 2)}e}"
    elif size >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    else:
        exponent = math.floor(math.log10(size)) if size else 0
        text = f"{value:,.{min(digits + 3, digits - 1 - exponent)}f}"
    return text.replace("-", MINUS) if text.startswith("-") else text


def tick(value: float) -> str:
    """A number beside an axis, in the shortest form: 999, 1,000, 20k, 1.5M, 1e21, 1e−9."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-4 or size >= 1e9:
        mantissa, exponent = f"{value:.3e}".split("e")
        text = f"{float(mantissa):g}e{int(exponent)}"
    elif size >= 1e6 and value % 1e5 == 0:
        text = f"{value / 1e6:g}M"
    elif size >= 1e4 and value % 100 == 0:
        text = f"{value / 1000:,g}k"
    else:
        text = f"{value:,.4g}" if size < 9999.5 else number(value)
    return text.replace("-", MINUS)


def share(value: float | None, decimals: int = 3) -> str:
    """A value of [0, 1]; more decimals where three would round it to a perfect score."""
    if value is None or not math.isfinite(value):
        return number(value)
    while decimals < 6 and value < 1 and round(value, decimals) == 1:
        decimals += 1
    text = f"{value:.{decimals}f}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text.replace("-", MINUS)


def metric_value(name: str, value: float | None) -> str:
    """A metric's value: three decimals for shares, four figures for what has a unit."""
    return share(value) if name in _SHARES else number(value)


def interval(name: str, metric: Metric) -> str:
    """`[0.889, 0.934]`, or nothing where the metric has no interval."""
    if metric.low is None or metric.high is None:
        return ""
    return f"[{metric_value(name, metric.low)}, {metric_value(name, metric.high)}]"


def with_interval(name: str, metric: Metric) -> str:
    """`0.912 [0.889, 0.934]`."""
    return " ".join(filter(None, (metric_value(name, metric.value), interval(name, metric))))


def signed(name: str, value: float | None) -> str:
    """A difference with its sign: `+0.012`."""
    text = metric_value(name, value)
    return f"+{text}" if value is not None and value > 0 else text


def count(value: float | None) -> str:
    """`12,345`."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """`12 %`; one decimal below one per cent; `< 0.1 %` for what is not nothing."""
    if value is None or not math.isfinite(value):
        return MISSING
    if 0 < value < 0.001:
        return "< 0.1 %"
    return f"{100 * value:.1f} %" if 0 < value < 0.01 else f"{100 * value:.0f} %"


def seconds(value: float | None) -> str:
    """`0.35 s`, `12.4 s`, `3 min 20 s`, `2 h 05 min`."""
    if value is None or not math.isfinite(value) or value < 0:
        return MISSING
    if value < 9.995:
        return f"{value:.2f} s"
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def clock(value: float | None) -> str:
    """Time left, as a clock counts it: `0:21`, `12:05`, `1:02:03`."""
    if value is None or not math.isfinite(value):
        return MISSING
    minutes, rest = divmod(max(0, round(value)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def data_size(num_bytes: float) -> str:
    """`512 B`, `1.5 kB`, `3.2 MB` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(num_bytes) < 999.5:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.3g} TB"


def moment(unix_seconds: float) -> str:
    """`2026-11-24 00:07 UTC`; nothing for a run that has no date."""
    if not 0 < unix_seconds < 2e11:
        return ""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
