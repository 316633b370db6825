"""How good are predictions? Every metric of a task: values alone for use while training, and values
with intervals for a judgement.

Predictions are probabilities [row, class_] (binary: two columns; several labels: one column each)
or numbers [row] or [row, target] in the user's unit. Targets are class indices [row], 0/1
[row, label], or numbers. Every name in METRICS is always answered: NaN without an interval where
the rows do not define it (AUC of one class, R² of a constant) or a prediction is not finite.

Intervals are closed forms from each row's influence (`estimate.py`): no draws, so they cost little
and repeat exactly. [measured: cover 92 to 97 % at n = 200, tests/evaluate/test_coverage.py]
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from trainwright.core.records import Metric
from trainwright.core.task import METRICS, Task
from trainwright.evaluate.counting import (
    accuracy,
    balanced_accuracy,
    calibration_error,
    f1_macro,
    label_f1_macro,
)
from trainwright.evaluate.estimate import Estimate, Predictions, Targets, average, undefined
from trainwright.evaluate.ranking import average_precision, roc_auc

SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)  # a wrong and certain row costs 15.9 nats
MOST_RANKED_CLASSES = 200  # beyond it roc_auc is the mean over a draw of this many [assumed]
IMBALANCED_SHARE = 0.2  # below it accuracy rewards ignoring the rarer class [assumed]


def score(task: Task, predictions: Predictions, target: Targets) -> dict[str, float]:
    """Values of all metrics of the task."""
    return {name: e.value for name, e in _estimates(task, predictions, target, seed=0).items()}


def measure(
    task: Task, predictions: Predictions, target: Targets, *, seed: int = 0, level: float = 0.95
) -> dict[str, Metric]:
    """All metrics of the task with their intervals. `seed` draws the classes that roc_auc looks at
    where there are over MOST_RANKED_CLASSES, nothing else."""
    estimates = _estimates(task, predictions, target, seed=seed)
    return {name: estimate.metric(level) for name, estimate in estimates.items()}


def estimate_metric(
    name: str, task: Task, predictions: Predictions, target: Targets, *, seed: int = 0
) -> Estimate:
    """One metric with each row's influence."""
    return _estimates(task, predictions, target, seed=seed, only=name)[name]


def measure_loss(losses: Float[np.ndarray, " row"], *, level: float = 0.95) -> Metric:
    """Mean loss; `losses` are of any sign."""
    losses = np.asarray(losses, dtype=np.float64)
    mean = float(losses.mean()) if len(losses) else float("nan")
    influence = (losses - mean) / max(1, len(losses))
    return Estimate(value=mean, influence=influence, scale="any").metric(level)


def primary_metric(task: Task, target: Targets) -> str:
    """What a comparison on these rows looks at: the task's first metric, but average precision for
    two classes of which one has under a fifth of the rows."""
    if task.kind == "binary" and len(target):
        share = rows_of_rarer_class(target).mean()
        if 0 < share < IMBALANCED_SHARE:
            return "average_precision"
    return METRICS[task.kind][0]


def rows_of_rarer_class(target: Shaped[np.ndarray, " row"]) -> Bool[np.ndarray, " row"]:
    """Which of two classes is rarer is decided by `target`, class 1 when equal."""
    return target == rarer_class(target)


def rarer_class(target: Shaped[np.ndarray, " row"]) -> int:
    """0 or 1."""
    return int(2 * np.count_nonzero(target) <= len(target))


def _estimates(
    task: Task, predictions: Predictions, target: Targets, *, seed: int, only: str | None = None
) -> Mapping[str, Estimate]:
    num = len(target)
    names = METRICS[task.kind] if only is None else (only,)
    predictions = np.asarray(predictions, dtype=np.float64)
    if not num or not np.isfinite(predictions).all():
        return {name: undefined(num) for name in names}
    match task.kind:
        case "binary" | "multiclass":
            target = np.asarray(target).astype(np.intp)
            chosen = predictions.argmax(axis=1)
            return {n: _class_metric(n, task, predictions, chosen, target, seed) for n in names}
        case "multilabel":
            labels = np.asarray(target) > 0.5
            return {name: _label_metric(name, predictions, labels) for name in names}
        case "regression":
            target = np.asarray(target, dtype=np.float64).reshape(num, -1)
            values = predictions.reshape(num, -1)
            return {name: _number_metric(name, values, target) for name in names}


def _class_metric(
    name: str, task: Task, predictions: Float[np.ndarray, "row class_"],
    chosen: Int[np.ndarray, " row"], target: Int[np.ndarray, " row"], seed: int,
) -> Estimate:  # fmt: skip
    match name:
        case "accuracy":
            return accuracy(chosen == target)
        case "balanced_accuracy":
            return balanced_accuracy(chosen, target)
        case "f1_macro":
            return f1_macro(chosen, target)
        case "ece":
            return calibration_error(predictions.max(axis=1), chosen == target)
        case "log_loss":
            of_truth = np.take_along_axis(predictions, target[:, None], axis=1)[:, 0]
            return _mean(-np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)))
        case "average_precision" if task.kind == "binary":
            rare = rarer_class(target)
            return average_precision(predictions[:, rare], target == rare)
        case "roc_auc" if task.kind == "binary":
            return roc_auc(predictions[:, 1], target == 1)
        case "roc_auc":
            return _one_against_rest(predictions, target, seed)
    raise AssertionError(f"{name} is no metric of {task.kind}")


def _one_against_rest(
    predictions: Float[np.ndarray, "row class_"], target: Int[np.ndarray, " row"], seed: int
) -> Estimate:
    """Mean over the classes that occur of the AUC of that class against all others."""
    classes = np.unique(target)
    if len(classes) > MOST_RANKED_CLASSES:
        generator = np.random.default_rng(seed)
        classes = generator.choice(classes, MOST_RANKED_CLASSES, replace=False)
    return average([roc_auc(predictions[:, c], target == c) for c in classes], len(target))


def _label_metric(
    name: str, predictions: Float[np.ndarray, "row label"], labels: Bool[np.ndarray, "row label"]
) -> Estimate:
    """accuracy: all labels of a row right. The ranking metrics: means over labels that are set in
    some rows (and not all). log_loss: mean binary cross-entropy over labels."""
    chosen = predictions > 0.5
    columns = range(labels.shape[1])
    match name:
        case "accuracy":
            return accuracy((chosen == labels).all(axis=1))
        case "f1_macro":
            return label_f1_macro(chosen, labels)
        case "average_precision":
            parts = [average_precision(predictions[:, j], labels[:, j]) for j in columns]
            return average(parts, len(labels))
        case "roc_auc":
            parts = [roc_auc(predictions[:, j], labels[:, j]) for j in columns]
            return average(parts, len(labels))
        case "log_loss":
            of_truth = np.where(labels, predictions, 1 - predictions)
            return _mean(-np.log(np.clip(of_truth, SMALLEST_PROBABILITY, 1.0)).mean(axis=1))
    raise AssertionError(f"{name} is no metric of several labels")


def _number_metric(
    name: str, values: Float[np.ndarray, "row target"], target: Float[np.ndarray, "row target"]
) -> Estimate:
    """The mean over targets, as scikit-learn's `uniform_average`; r2 over those that vary."""
    error = values - target
    columns = range(target.shape[1])
    match name:
        case "mae":
            return _mean(np.abs(error).mean(axis=1))
        case "rmse":
            return average([_rmse(error[:, j]) for j in columns], len(target))
        case "r2":
            return average([_r2(error[:, j], target[:, j]) for j in columns], len(target))
    raise AssertionError(f"{name} is no metric of numbers")


def _mean(cost: Float[np.ndarray, " row"]) -> Estimate:
    """Mean of costs that are not negative."""
    mean = float(cost.mean())
    return Estimate(value=mean, influence=(cost - mean) / len(cost), scale="positive")


def _rmse(error: Float[np.ndarray, " row"]) -> Estimate:
    """sqrt(mean e²); influence = (e² - mean e²) / (2 n rmse)."""
    square = error * error
    mean = float(square.mean())
    root = mean**0.5
    influence = (square - mean) / (2 * len(error) * root) if root > 0 else np.zeros(len(error))
    return Estimate(value=root, influence=influence, scale="positive")


def _r2(error: Float[np.ndarray, " row"], target: Float[np.ndarray, " row"]) -> Estimate:
    """1 - Σe² / Σ(y - mean y)²; influence = (ratio (y - mean y)² - e²) / Σ(y - mean y)², with ratio
    = 1 - r2. NaN for a constant target."""
    around = np.square(target - target.mean())
    total = float(around.sum())
    if total == 0 or np.ptp(target) == 0:  # the mean of equal floats may be off by rounding
        return undefined(len(target))
    square = error * error
    ratio = float(square.sum()) / total
    return Estimate(
        value=1 - ratio, influence=(ratio * around - square) / total, scale="at_most_one"
    )
