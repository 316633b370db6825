"""Is deep learning worth it here? The network against the best simple learner on the same rows."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from trainwright.core.records import Metric, Verdict
from trainwright.core.stats import (
    Interval,
    Statistic,
    deviation_from_influence,
    normal_interval,
    paired_difference,
)
from trainwright.core.task import LOWER_IS_BETTER, Task
from trainwright.evaluate.baselines import best_of
from trainwright.evaluate.estimate import Predictions, Targets
from trainwright.evaluate.metrics import (
    estimate_metric,
    primary_metric,
    rarer_class,
)
from trainwright.evaluate.ranking import resampled_average_precision

MOST_BOOTSTRAP_ROWS = 100_000  # beyond it both intervals agree to 1 % [assumed]
NO_GAIN = 0.02  # smaller differences change no decision (errors: as a share of it) [assumed]


@runtime_checkable
class Rivals(Protocol):
    """Predictions by name on the compared rows; `chosen` is the best by other rows, if any."""

    @property
    def predictions(self) -> Mapping[str, Predictions]: ...

    @property
    def chosen(self) -> str | None: ...


def verdict(
    task: Task, predictions: Predictions, rivals: Rivals, target: Targets, *, seed: int
) -> Verdict:
    """The difference in the primary metric with its 95 % interval; above 0 favours the network.

    worth_it: the interval is above 0. not_worth_it: it is below 0, or the network's predictions are
    not finite. no_gain: it holds 0 and lies within ± NO_GAIN. undecided: it holds 0 and is wider.
    The rival is the one chosen on validation rows; without those the best on these same rows, which
    favours the rival a little.

    The interval is a paired bootstrap over rows; beyond MOST_BOOTSTRAP_ROWS rows its normal
    approximation from the rows' influences.
    """
    rival = rivals.chosen or best_of(task, rivals.predictions, target)
    if rival is None or not len(target):
        return Verdict(code="no_baselines", num_examples=len(target))
    metric = primary_metric(task, target)
    theirs = rivals.predictions[rival]
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    ours_now = estimate_metric(metric, task, predictions, target)
    theirs_now = estimate_metric(metric, task, theirs, target)
    difference = sign * (ours_now.value - theirs_now.value)
    found = Verdict(code="not_worth_it", metric=metric, baseline=rival, num_examples=len(target))
    if not np.isfinite(difference):
        return found
    if len(target) > MOST_BOOTSTRAP_ROWS:
        spread = deviation_from_influence(ours_now.influence - theirs_now.influence)
        ends: Interval | None = normal_interval(difference, spread)
    else:
        first, second = (
            _statistic(metric, task, values, target, sign) for values in (predictions, theirs)
        )
        ends = paired_difference(first, second, len(target), seed=seed)
    margin = NO_GAIN * (theirs_now.value if metric in LOWER_IS_BETTER else 1.0)
    low, high = ends or (None, None)
    return Verdict(
        code=_code(ends, margin),
        metric=metric,
        baseline=rival,
        difference=Metric(value=difference, low=low, high=high),
        num_examples=len(target),
    )


def _code(ends: Interval | None, margin: float) -> str:
    if ends is None:
        return "undecided"
    low, high = ends
    if low > 0:
        return "worth_it"
    if high < 0:
        return "not_worth_it"
    return "no_gain" if -margin <= low and high <= margin else "undecided"


def _statistic(
    metric: str, task: Task, predictions: Predictions, target: Targets, sign: float
) -> Statistic:
    """A primary metric, times sign, as a function of resampling weights [resample, row]."""
    num = len(target)
    match metric:
        case "accuracy":
            right = (predictions.argmax(axis=1) == target).astype(np.float32)
            return lambda w: sign * (w @ right) / num
        case "average_precision":
            rare = rarer_class(target)
            scores, positive = predictions[:, rare], target == rare
            return lambda w: sign * resampled_average_precision(scores, positive, w)
        case "rmse":
            square = np.square(predictions - target, dtype=np.float64).reshape(num, -1)
            return lambda w: sign * np.sqrt(w @ square / num).mean(axis=1)
        case "f1_macro":
            chosen, labels = predictions > 0.5, target > 0.5
            hits = (chosen & labels).astype(np.float32)
            size = chosen.astype(np.float32) + labels
            return lambda w: sign * (2 * (w @ hits) / np.maximum(w @ size, 1)).mean(axis=1)
    raise AssertionError(f"{metric} is no primary metric")
