"""Every metric equals scikit-learn's, and its influence is the derivative by row weights."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from trainwright.core.task import METRICS, Task
from trainwright.evaluate.metrics import (
    estimate_metric,
    measure,
    measure_loss,
    primary_metric,
    score,
)

NAMES = tuple("abcdefgh")


def task_of(kind, num_classes=2):
    return Task(kind=kind, classes=() if kind == "regression" else NAMES[:num_classes])


def draw(kind, *, seed, num=60, num_classes=4, ties=True):
    """Predictions and targets with ties, of a learner that knows a little."""
    rng = np.random.default_rng(seed)
    if kind == "regression":
        target = rng.normal(size=num) * 3 + 1
        return target + rng.normal(size=num), target
    if kind == "multilabel":
        target = (rng.random((num, num_classes)) < 0.4).astype(float)
        target[:2] = [[0] * num_classes, [1] * num_classes]
        values = np.clip(target * 0.3 + rng.random((num, num_classes)) * 0.65, 0.01, 0.99)
        return np.round(values, 1) * 0.98 + 0.01 if ties else values, target
    num_classes = 2 if kind == "binary" else num_classes
    target = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, num)])
    if kind == "binary":
        target = (rng.random(num) < 0.3).astype(int)
        target[:2] = [0, 1]
    values = rng.normal(size=(len(target), num_classes))
    values[np.arange(len(target)), target] += 1
    values = np.exp(np.round(values, 0) if ties else values)
    return values / values.sum(axis=1, keepdims=True), target


def sklearn_value(name, kind, values, target, weight=None):
    """The metric by scikit-learn, with row weights."""
    weights = {"sample_weight": weight}
    if kind == "regression":
        functions = {
            "rmse": oracle.root_mean_squared_error, "mae": oracle.mean_absolute_error,
            "r2": oracle.r2_score,
        }  # fmt: skip
        return functions[name](target, values, **weights)
    chosen = values > 0.5 if kind == "multilabel" else values.argmax(axis=1)
    match name:
        case "accuracy":
            return oracle.accuracy_score(target, chosen, **weights)
        case "balanced_accuracy":
            return oracle.balanced_accuracy_score(target, chosen, **weights)
        case "f1_macro":
            return oracle.f1_score(target, chosen, average="macro", zero_division=0, **weights)
        case "log_loss" if kind == "multilabel":
            columns = range(target.shape[1])
            return np.mean(
                [oracle.log_loss(target[:, j], values[:, j], **weights) for j in columns]
            )
        case "log_loss":
            return oracle.log_loss(target, values, labels=range(values.shape[1]), **weights)
        case "average_precision" if kind == "binary":
            rare = int(2 * (target == 1).sum() <= len(target))
            return oracle.average_precision_score(target == rare, values[:, rare], **weights)
        case "average_precision":
            return oracle.average_precision_score(target, values, average="macro", **weights)
        case "roc_auc" if kind == "binary":
            return oracle.roc_auc_score(target, values[:, 1], **weights)
        case "roc_auc" if kind == "multilabel":
            return oracle.roc_auc_score(target, values, average="macro", **weights)
        case "roc_auc":
            return oracle.roc_auc_score(target, values, multi_class="ovr", **weights)
    raise AssertionError(name)


CASES = [(kind, name) for kind, names in METRICS.items() for name in names if name != "ece"]


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("seed", range(4))
def test_value_equals_scikit_learns(kind, name, seed):
    values, target = draw(kind, seed=seed, ties=seed % 2 == 0)
    expected = sklearn_value(name, kind, values, target)
    found = score(task_of(kind, values.shape[-1]), values, target)[name]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_rows_drawn_twice_count_twice(kind, name):
    values, target = draw(kind, seed=7)
    counts = np.random.default_rng(0).integers(1, 4, len(target))
    expected = sklearn_value(name, kind, values, target, counts)
    repeated = score(
        task_of(kind, values.shape[-1]),
        values.repeat(counts, axis=0),
        target.repeat(counts, axis=0),
    )
    if name == "average_precision" and kind == "binary":
        assert 2 * target.repeat(counts).sum() <= counts.sum(), "the rarer class must not change"
    assert repeated[name] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("ties", [False, True])
def test_influence_is_the_derivative_by_row_weight(kind, name, ties):
    values, target = draw(kind, seed=3, num=30, ties=ties)
    found = estimate_metric(name, task_of(kind, values.shape[-1]), values, target)
    step = 1e-5
    for row in range(0, len(target), 3):
        up, down = np.ones(len(target)), np.ones(len(target))
        up[row], down[row] = 1 + step, 1 - step
        difference = sklearn_value(name, kind, values, target, up) - sklearn_value(
            name, kind, values, target, down
        )
        assert found.influence[row] == pytest.approx(difference / (2 * step), abs=1e-8)


def test_several_targets_are_averaged_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(80, 3)) * [1, 10, 100]
    values = target + rng.normal(size=(80, 3))
    found = score(Task(kind="regression", num_targets=3), values, target)
    assert found["rmse"] == pytest.approx(oracle.root_mean_squared_error(target, values))
    assert found["mae"] == pytest.approx(oracle.mean_absolute_error(target, values))
    assert found["r2"] == pytest.approx(oracle.r2_score(target, values))


def test_calibration_error_equals_a_loop_over_bins():
    values, target = draw("multiclass", seed=5, num=400, ties=False)
    confidence, right = values.max(axis=1), values.argmax(axis=1) == target
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert score(task_of("multiclass", 4), values, target)["ece"] == pytest.approx(expected)


def test_a_calibrated_perfect_predictor_has_every_best_value_and_still_an_interval():
    target = np.arange(40) % 4
    found = measure(task_of("multiclass", 4), np.eye(4)[target], target)
    best = {"log_loss": 0.0, "ece": 0.0}
    for name, metric in found.items():
        assert metric.value == pytest.approx(best.get(name, 1.0), abs=1e-12), name
    for name in ("accuracy", "balanced_accuracy", "roc_auc", "f1_macro"):
        assert found[name].low < 0.99, f"40 rows cannot prove {name} = 1"
        assert found[name].high == 1


def test_a_predictor_that_guesses_is_told_so():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 5000)
    share = rng.random(5000)
    found = measure(task_of("binary"), np.stack([1 - share, share], axis=1), target)
    for name in ("accuracy", "balanced_accuracy", "roc_auc", "average_precision"):
        assert found[name].low < 0.5 < found[name].high or abs(found[name].value - 0.5) < 0.02
        assert found[name].high - found[name].low < 0.05


@pytest.mark.parametrize("kind", list(METRICS))
def test_every_metric_of_the_task_is_answered_within_its_interval(kind):
    values, target = draw(kind, seed=1)
    found = measure(task_of(kind, values.shape[-1]), values, target)
    assert tuple(found) == METRICS[kind]
    for metric in found.values():
        assert metric.low is not None
        assert metric.low <= metric.value <= metric.high
        assert type(metric.value) is float


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_one_class_alone_leaves_the_auc_undefined_and_the_rest_defined(kind):
    values, _ = draw(kind, seed=1)
    found = measure(task_of(kind, values.shape[1]), values, np.zeros(len(values), dtype=int))
    assert np.isnan(found["roc_auc"].value)
    assert found["roc_auc"].low is None
    assert 0 <= found["accuracy"].value <= 1
    assert np.isfinite(found["log_loss"].value)


def test_a_constant_target_leaves_r2_undefined():
    found = measure(task_of("regression"), np.arange(9.0), np.full(9, 0.1))
    assert np.isnan(found["r2"].value)
    assert found["rmse"].value > 0


@pytest.mark.parametrize("kind", list(METRICS))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_prediction_that_is_not_finite_makes_all_metrics_undefined(kind, bad):
    values, target = draw(kind, seed=1)
    values[3] = bad
    found = measure(task_of(kind, values.shape[-1]), values, target)
    assert all(np.isnan(m.value) and m.low is None for m in found.values())


@pytest.mark.parametrize("kind", list(METRICS))
@pytest.mark.parametrize("num", [0, 1, 2])
def test_hardly_any_rows_are_no_error(kind, num):
    values, target = draw(kind, seed=1)
    found = measure(task_of(kind, values.shape[-1]), values[:num], target[:num])
    assert tuple(found) == METRICS[kind]


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(list(METRICS)), seed=st.integers(0, 10**6), num=st.integers(3, 40),
    classes=st.integers(2, 6),
)  # fmt: skip
def test_the_order_of_rows_changes_nothing(kind, seed, num, classes):
    values, target = draw(kind, seed=seed, num=num, num_classes=classes)
    task = task_of(kind, values.shape[-1])
    order = np.random.default_rng(seed).permutation(len(target))
    first, second = measure(task, values, target), measure(task, values[order], target[order])
    for name in first:
        assert first[name].value == pytest.approx(second[name].value, abs=1e-9, nan_ok=True)
        if first[name].low is not None:
            assert first[name].low <= first[name].high


def test_thousands_of_classes_are_ranked_by_a_draw_that_the_seed_decides():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 300, 900)
    values = rng.random((900, 300)) + 0.2 * np.eye(300)[target]
    values /= values.sum(axis=1, keepdims=True)
    task = Task(kind="multiclass", classes=tuple(map(str, range(300))))
    first, same, other = (measure(task, values, target, seed=s)["roc_auc"].value for s in (0, 0, 1))
    assert first == same != other
    assert first == pytest.approx(other, abs=0.02)


def test_the_comparison_metric_is_average_precision_when_one_class_is_rare():
    assert primary_metric(task_of("binary"), np.arange(100) < 15) == "average_precision"
    assert primary_metric(task_of("binary"), np.arange(100) < 85 - 1) == "average_precision"
    assert primary_metric(task_of("binary"), np.arange(100) < 40) == "accuracy"
    assert primary_metric(task_of("binary"), np.zeros(100)) == "accuracy"
    assert primary_metric(task_of("regression"), np.zeros(100)) == "rmse"


def test_mean_loss_may_be_negative_and_has_its_interval():
    found = measure_loss(np.array([-3.0, -1.0, -2.0, -2.0]))
    assert found.value == -2
    assert found.low < -2 < found.high
    assert found.low == pytest.approx(-2 - 1.959964 * np.std([-3, -1, -2, -2], ddof=1) / 2)


def test_no_metric_warns_on_probabilities_of_0_and_1():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score(task_of("binary"), np.array([[1.0, 0], [1, 0]]), np.array([1, 0]))
    assert 7 < found["log_loss"] < 8, "half of -log(float32's epsilon)"
