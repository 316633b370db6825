"""What is a metric as a statistic? Its value, how much each row moves it, and on which scale its
interval is drawn."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

from trainwright.core.records import Metric
from trainwright.core.stats import (
    Interval,
    deviation_from_influence,
    log_normal_interval,
    normal_interval,
    wilson,
)

Scale = Literal["share", "positive", "at_most_one", "within_one", "any"]
# What `metrics.py` says they are. A target of labels may be boolean.
Predictions = Float[np.ndarray, " row"] | Float[np.ndarray, "row output"]
Targets = Shaped[np.ndarray, " row"] | Shaped[np.ndarray, "row label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric on n rows. `influence[k]` = dT / dw[k], T taken as a function of row weights at
    w = 1.

    `num_at_edge`: rows that a share rests on at 0 or 1, where influence says nothing.
    `bias`: what the value exceeds the truth by on average; the low end goes down by it, the
    high end by half of it.
    """

    value: float
    influence: Float[np.ndarray, " row"]
    scale: Scale
    num_at_edge: float = 0.0
    bias: float = 0.0

    def interval(self, level: float) -> Interval | None:
        """None where the value is not finite or the rows are too few to say."""
        deviation = deviation_from_influence(self.influence)
        if not (np.isfinite(self.value) and np.isfinite(deviation)):
            return None
        match self.scale:
            case "share":
                return self._share_interval(deviation, level)
            case "positive":
                return log_normal_interval(self.value, deviation, level=level)
            case "at_most_one":
                low, high = log_normal_interval(1 - self.value, deviation, level=level)
                return 1 - high, 1 - low
            case "within_one":
                low, high = normal_interval(self.value, deviation, level=level)
                return max(0.0, low - self.bias), min(1.0, max(self.value, high - self.bias / 2))
            case "any":
                return normal_interval(self.value, deviation, level=level)

    def metric(self, level: float = 0.95) -> Metric:
        ends = self.interval(level)
        return Metric(value=self.value, low=ends and ends[0], high=ends and ends[1])

    def _share_interval(self, deviation: float, level: float) -> Interval | None:
        """Wilson's interval with the number of rows that would give the same deviation."""
        share = min(1.0, max(0.0, self.value))
        spread = share * (1 - share)
        num = float(len(self.influence))
        if deviation * deviation * num > spread * 1e-6:
            num = spread / deviation**2  # above len(influence) where several labels are averaged
        elif self.num_at_edge > 0:
            num = self.num_at_edge
        return wilson(share, num, level=level) if num > 0 else None


UNDEFINED = Metric(value=float("nan"))


def undefined(num_rows: int) -> Estimate:
    """A metric that these rows do not define, as the AUC of one class."""
    return Estimate(value=float("nan"), influence=np.zeros(num_rows), scale="any")


def average(estimates: list[Estimate], num_rows: int) -> Estimate:
    """The mean of those that are defined (over classes, labels or targets)."""
    defined = [e for e in estimates if np.isfinite(e.value)]
    if not defined:
        return undefined(num_rows)
    influence = np.zeros(num_rows)
    for estimate in defined:
        influence += estimate.influence
    # Var(mean) = Σ p(1-p)/n_j / m²  =>  effective number m² / Σ 1/n_j
    inverse = sum(1 / e.num_at_edge for e in defined if e.num_at_edge > 0)
    return Estimate(
        value=float(np.mean([e.value for e in defined])),
        influence=influence / len(defined),
        scale=defined[0].scale,
        num_at_edge=len(defined) ** 2 / inverse if inverse else 0.0,
    )
