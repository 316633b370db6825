"""Planted differences are found, and what is equal is not called better."""

from types import SimpleNamespace

import numpy as np
import pytest

from trainwright.core.task import Task
from trainwright.core.words import LANGUAGES, known_codes
from trainwright.evaluate.verdict import verdict

THREE = Task(kind="multiclass", classes=("a", "b", "c"))
TWO = Task(kind="binary", classes=("no", "yes"))
NUMBER = Task(kind="regression")


def guesses(target, share_right, seed, num_classes=3):
    rng = np.random.default_rng(seed)
    wrong = (target + rng.integers(1, num_classes, len(target))) % num_classes
    chosen = np.where(rng.random(len(target)) < share_right, target, wrong)
    return np.eye(num_classes)[chosen] * 0.8 + 0.2 / num_classes


def against(chosen=None, **predictions):
    return SimpleNamespace(predictions=predictions, chosen=chosen)


@pytest.fixture
def target():
    return np.random.default_rng(0).integers(0, 3, 1500)


def test_a_better_network_is_worth_it(target):
    found = verdict(THREE, guesses(target, 0.9, 1), against(tree=guesses(target, 0.8, 2)), target,
                    seed=0)  # fmt: skip
    assert (found.code, found.metric, found.baseline) == ("worth_it", "accuracy", "tree")
    assert 0 < found.difference.low < found.difference.value < found.difference.high < 0.2
    assert found.num_examples == 1500


def test_a_worse_network_is_not_worth_it(target):
    found = verdict(THREE, guesses(target, 0.8, 1), against(tree=guesses(target, 0.9, 2)), target,
                    seed=0)  # fmt: skip
    assert found.code == "not_worth_it"
    assert found.difference.high < 0


def test_the_same_predictions_are_no_gain(target):
    same = guesses(target, 0.9, 1)
    found = verdict(THREE, same, against(tree=same), target, seed=0)
    assert found.code == "no_gain"
    assert found.difference.value == found.difference.low == found.difference.high == 0


def test_equal_learners_with_other_mistakes_are_undecided_on_few_rows(target):
    few = target[:60]
    found = verdict(THREE, guesses(few, 0.8, 1), against(tree=guesses(few, 0.8, 2)), few, seed=0)
    assert found.code == "undecided"
    assert found.difference.low < 0 < found.difference.high


def test_equal_learners_on_very_many_rows_are_no_gain():
    target = np.random.default_rng(0).integers(0, 3, 60_000)
    rivals = against(tree=guesses(target, 0.9, 2))
    assert verdict(THREE, guesses(target, 0.9, 1), rivals, target, seed=0).code == "no_gain"


def test_a_rare_class_is_compared_by_average_precision():
    rng = np.random.default_rng(0)
    target = (rng.random(3000) < 0.05).astype(int)
    good, poor = (1 / (1 + np.exp(-(target * s + rng.normal(size=3000) - 3))) for s in (4, 2))
    found = verdict(TWO, np.stack([1 - good, good], 1), against(tree=np.stack([1 - poor, poor], 1)),
                    target, seed=0)  # fmt: skip
    assert (found.metric, found.code) == ("average_precision", "worth_it")


def test_a_smaller_error_favours_the_network():
    rng = np.random.default_rng(0)
    target = rng.normal(size=800) * 50
    near, far = target + rng.normal(size=800), target + 2 * rng.normal(size=800)
    found = verdict(NUMBER, near, against(linear=far), target, seed=0)
    assert (found.metric, found.code) == ("rmse", "worth_it")
    assert found.difference.value == pytest.approx(1, abs=0.2)
    assert verdict(NUMBER, far, against(linear=near), target, seed=0).code == "not_worth_it"


def test_several_labels_are_compared_by_f1():
    rng = np.random.default_rng(0)
    task = Task(kind="multilabel", classes=("a", "b"))
    target = (rng.random((900, 2)) < 0.4).astype(float)
    good, poor = (np.abs(target - (rng.random((900, 2)) < e)) * 0.8 + 0.1 for e in (0.05, 0.2))
    found = verdict(task, good, against(tree=poor), target, seed=0)
    assert (found.metric, found.code) == ("f1_macro", "worth_it")


def test_the_rival_chosen_on_validation_rows_is_kept_though_another_shines_on_test_rows(target):
    rivals = against(chosen="tree", tree=guesses(target, 0.7, 2), svm=guesses(target, 0.95, 3))
    assert verdict(THREE, guesses(target, 0.9, 1), rivals, target, seed=0).baseline == "tree"
    rivals.chosen = None
    assert verdict(THREE, guesses(target, 0.9, 1), rivals, target, seed=0).baseline == "svm"


def test_nothing_to_compare_with_is_said(target):
    assert verdict(THREE, guesses(target, 0.9, 1), against(), target, seed=0).code == "no_baselines"


def test_a_network_without_finite_predictions_is_not_worth_it(target):
    broken = np.full((len(target), 3), np.nan)
    found = verdict(THREE, broken, against(tree=guesses(target, 0.5, 1)), target, seed=0)
    assert (found.code, found.difference) == ("not_worth_it", None)


def test_the_normal_approximation_agrees_with_the_bootstrap(target, monkeypatch):
    ours, rivals = guesses(target, 0.85, 1), against(tree=guesses(target, 0.8, 2))
    drawn = verdict(THREE, ours, rivals, target, seed=0).difference
    monkeypatch.setattr("trainwright.evaluate.verdict.MOST_BOOTSTRAP_ROWS", 10)
    computed = verdict(THREE, ours, rivals, target, seed=0).difference
    assert computed.low == pytest.approx(drawn.low, abs=0.003)
    assert computed.high == pytest.approx(drawn.high, abs=0.003)


def test_the_interval_of_equal_learners_holds_nothing_in_most_repetitions():
    held = 0
    for repetition in range(100):
        target = np.random.default_rng(repetition).integers(0, 3, 200)
        ours, theirs = (guesses(target, 0.8, 1000 * side + repetition) for side in (1, 2))
        found = verdict(THREE, ours, against(tree=theirs), target, seed=repetition).difference
        held += found.low <= 0 <= found.high
    assert 88 <= held <= 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_verdict_and_metric_has_words(language):
    from trainwright.core.task import METRICS

    names = {name for names in METRICS.values() for name in names} | {"loss"}
    wanted = {f"metric.{name}" for name in names} | {
        f"verdict.{code}"
        for code in ("worth_it", "no_gain", "not_worth_it", "undecided", "no_baselines")
    }
    assert wanted <= known_codes(language)
