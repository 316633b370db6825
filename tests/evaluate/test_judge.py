"""A judgement shows what is there, and finds what was planted."""

import json

import numpy as np
import pytest
from sklearn import metrics as oracle

from trainwright.core.records import Judgement, from_plain, to_plain
from trainwright.core.task import Task
from trainwright.evaluate.judge import judge
from trainwright.evaluate.slices import find_slices

THREE = Task(kind="multiclass", classes=("ant", "bee", "cat"))


@pytest.fixture
def judged(make_examples):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, 200)
    values = rng.random((200, 3)) + 0.8 * np.eye(3)[target]
    values /= values.sum(axis=1, keepdims=True)
    losses = -np.log(values[np.arange(200), target])
    examples = make_examples([np.zeros((200, 1), np.float32)], target, THREE)
    found = judge(THREE, values, target, losses, examples, split="test", seed=0)
    return found, values, target, losses


def test_confusion_and_classes_equal_scikit_learns(judged):
    found, values, target, _ = judged
    chosen = values.argmax(axis=1)
    assert np.array_equal(found.confusion, oracle.confusion_matrix(target, chosen))
    expected = oracle.precision_recall_fscore_support(target, chosen)
    for row, *numbers in zip(found.per_class, *expected, strict=True):
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(tuple(numbers))
    assert [row.name for row in found.per_class] == ["ant", "bee", "cat"]


def test_the_worst_examples_are_those_of_largest_loss(judged):
    found, _, target, losses = judged
    assert len(found.worst) == 12
    assert [e.loss for e in found.worst] == sorted(losses, reverse=True)[:12]
    first = int(losses.argmax())
    assert found.worst[0].row == 1000 + first
    assert found.worst[0].content == {"position": str(first)}
    assert found.worst[0].target == THREE.classes[target[first]]


def test_shown_confusions_are_of_the_most_frequent_kinds(judged):
    found, values, target, _ = judged
    wrong = np.array(found.confusion)
    np.fill_diagonal(wrong, 0)
    frequent = sorted(wrong.ravel(), reverse=True)[:4]
    assert found.confusion_examples
    for example in found.confusion_examples:
        cell = wrong[THREE.classes.index(example.target), THREE.classes.index(example.prediction)]
        assert cell in frequent
        row = example.row - 1000
        assert values[row].argmax() != target[row]
        assert example.confidence == pytest.approx(values[row].max())


def test_reliability_bins_hold_every_row_once(judged):
    found, values, target, _ = judged
    assert sum(b.count for b in found.reliability) == 200
    share = sum(b.accuracy * b.count for b in found.reliability) / 200
    assert share == pytest.approx((values.argmax(axis=1) == target).mean())
    gap = sum(abs(b.accuracy - b.confidence) * b.count for b in found.reliability) / 200
    assert gap == pytest.approx(found.metrics["ece"].value)


def test_a_judgement_survives_as_json(judged):
    found = judged[0]
    assert from_plain(Judgement, json.loads(json.dumps(to_plain(found)))) == found
    assert found.metrics["loss"].value == pytest.approx(found.metrics["log_loss"].value)


def test_numbers_have_residuals_and_no_classes(make_examples):
    task = Task(kind="regression")
    target = np.arange(2000.0)
    values = target + 1
    examples = make_examples([np.zeros((2000, 1), np.float32)], target, task)
    found = judge(task, values, target, np.ones(2000), examples, split="valid", seed=0)
    assert len(set(found.residuals)) == 500
    assert all(guess == true + 1 for true, guess in found.residuals)
    assert (found.confusion, found.per_class, found.reliability) == ((), (), ())
    assert found.worst[0].prediction == "1"


def test_several_labels_are_named(make_examples):
    task = Task(kind="multilabel", classes=("red", "round"))
    target = np.array([[1, 1], [0, 1], [0, 0]], dtype=np.float32)
    values = np.array([[0.9, 0.8], [0.7, 0.2], [0.1, 0.1]])
    examples = make_examples([np.zeros((3, 1), np.float32)], target, task)
    found = judge(task, values, target, np.array([0.1, 2, 0.1]), examples, split="test", seed=0)
    assert (found.worst[0].target, found.worst[0].prediction) == ("round", "red")
    assert found.per_class[1].recall == 0.5


def test_too_many_classes_have_no_matrix(make_examples):
    task = Task(kind="multiclass", classes=tuple(map(str, range(60))))
    target = np.arange(60)
    examples = make_examples([np.zeros((60, 1), np.float32)], target, task)
    found = judge(task, np.eye(60), target, np.zeros(60), examples, split="test", seed=0)
    assert found.confusion == ()
    assert len(found.per_class) == 60


def test_predictions_that_are_not_finite_are_still_judged(make_examples):
    target = np.array([0, 1, 2])
    examples = make_examples([np.zeros((3, 1), np.float32)], target, THREE)
    losses = np.array([0.5, np.nan, 0.1])
    found = judge(THREE, np.full((3, 3), np.nan), target, losses, examples, split="test", seed=0)
    assert found.worst[0].row == 1001, "NaN is the worst"
    assert found.reliability == ()


@pytest.fixture
def planted():
    """600 rows of which those from `north` are guessed."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 600)
    region = rng.choice(["north", "south", "east"], 600)
    chosen = np.where((region == "north") & (rng.random(600) < 0.5), 1 - target, target)
    return np.eye(2)[chosen], target, region, rng


def test_the_slice_that_was_planted_comes_first(planted):
    values, target, region, rng = planted
    columns = {
        "noise": rng.normal(size=600), "region": region, "flag": rng.random(600) < 0.5,
        "name": np.arange(600).astype(str), "rare": np.where(np.arange(600) < 20, "few", "many"),
    }  # fmt: skip
    found = find_slices(Task(kind="binary", classes=("a", "b")), values, target, columns)
    assert (found[0].column, found[0].value) == ("region", "north")
    assert found[0].metric.high < found[0].rest == 1.0
    assert found[0].count == np.count_nonzero(region == "north")
    assert len(found) <= 10
    assert not {"name", "rare"} & {piece.column for piece in found}


def test_numbers_are_cut_into_thirds_and_missing_ones_left_out(planted):
    target = np.zeros(600)
    size = np.arange(600.0)
    errors = np.where(size >= 400, 10.0, 1.0) * planted[3].normal(size=600)
    size[:50] = np.nan
    found = find_slices(Task(kind="regression"), errors, target, {"size": size})
    last = next(piece for piece in found if piece.value.startswith(">"))
    assert last.metric.low > last.rest
    assert sum(piece.count for piece in found) == 550
