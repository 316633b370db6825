"""Simple learners learn, keep to their time, and never end a run."""

import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits

from trainwright.core.task import Task
from trainwright.core.words import known_codes, say_notice
from trainwright.evaluate import baselines
from trainwright.evaluate.baselines import best_of, run_baselines
from trainwright.evaluate.flatten import MOST_FEATURES, flatten, read_some

DIGITS = Task(kind="multiclass", classes=tuple("0123456789"))
NUMBER = Task(kind="regression")
TWO = Task(kind="binary", classes=("no", "yes"))


@pytest.fixture
def digits(make_examples):
    images, target = load_digits(return_X_y=True)
    images = images.astype(np.float32).reshape(-1, 1, 8, 8)
    cuts = ((0, 1000), (1000, 1400), (1400, 1797))
    return [make_examples([images[a:b]], target[a:b], DIGITS, kind="image") for a, b in cuts]


def by_name(found):
    return {record.name: record for record in found.baselines}


def test_digits_are_learned_as_scikit_learn_alone_learns_them(digits, make_encoder):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    told = []
    found = run_baselines(*digits, DIGITS, make_encoder(DIGITS), seed=0, seconds=30,
                          tell=told.append)  # fmt: skip
    accuracy = {n: r.metrics["accuracy"].value for n, r in by_name(found).items()}
    assert list(accuracy) == ["constant", "logistic", "tree", "linear_svm", "boosted_trees"]
    assert accuracy["constant"] < 0.15
    assert accuracy["tree"] > 0.65
    assert accuracy["boosted_trees"] > 0.85
    inputs = [split.inputs[0].reshape(len(split), -1).numpy() for split in digits]
    oracle = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    oracle.fit(inputs[0], digits[0].target)
    assert accuracy["logistic"] == pytest.approx(
        oracle.score(inputs[2], digits[2].target), abs=0.01
    )
    assert told == list(found.baselines)
    assert found.chosen in ("logistic", "linear_svm", "boosted_trees")
    for name, values in found.predictions.items():
        assert values.shape == (397, 10), name
        assert np.allclose(values.sum(axis=1), 1), name
        assert values.min() >= 0, name
    assert all(record.seconds > 0 for record in found.baselines)
    assert digits[2].batches_read == 1, "test rows are read once"


def test_numbers_are_predicted_in_the_users_unit(make_examples, make_encoder):
    inputs, target = load_diabetes(return_X_y=True)
    inputs, mean, spread = inputs.astype(np.float32), 150.0, 77.0
    standard = ((target - mean) / spread).astype(np.float32)
    train, test = (make_examples([inputs[p]], standard[p], NUMBER)
                   for p in (slice(0, 342), slice(342, None)))  # fmt: skip
    encoder = make_encoder(NUMBER, mean, spread)
    found = run_baselines(train, None, test, NUMBER, encoder, seed=0, seconds=20)
    rmse = {name: record.metrics["rmse"].value for name, record in by_name(found).items()}
    assert set(rmse) == {"constant", "linear", "tree", "boosted_trees"}
    assert rmse["linear"] == pytest.approx(54, abs=6)
    assert rmse["constant"] == pytest.approx(np.std(target[342:]), rel=0.1)
    assert found.chosen is None, "there were no validation rows to choose by"
    assert np.median(found.predictions["tree"]) > 80


def test_words_are_learned_from_token_counts(make_examples, make_encoder):
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 600)
    tokens = rng.integers(2, 200, (600, 12))
    tokens[np.arange(600), rng.integers(0, 6, 600)] = np.where(target, 300, 301)
    tokens[:, 8:] = np.where(rng.random((600, 1)) < 0.5, 0, tokens[:, 8:])  # padding
    train, test = (make_examples([tokens[p]], target[p], TWO, kind="text", vocabulary=400)
                   for p in (slice(0, 400), slice(400, None)))  # fmt: skip
    found = run_baselines(train, None, test, TWO, make_encoder(TWO), seed=0, seconds=20)
    for name, record in by_name(found).items():
        assert not record.notices, name
        expected = 0.35 if name == "constant" else 0.9
        assert record.metrics["accuracy"].value > expected, name


def test_categories_that_no_number_could_order_are_learned(make_examples, make_encoder):
    rng = np.random.default_rng(0)
    codes = rng.integers(1, 12, (900, 2))
    target = codes[:, 0] % 2  # an ordered reading would need eleven cuts
    numbers = rng.normal(size=(900, 1)).astype(np.float32)
    codes[850:, 1] = 0  # unseen in training
    train, test = (make_examples([numbers[p], codes[p]], target[p], TWO, cardinalities=(12, 12))
                   for p in (slice(0, 600), slice(600, None)))  # fmt: skip
    found = run_baselines(train, None, test, TWO, make_encoder(TWO), seed=0, seconds=20)
    for name in ("logistic", "linear_svm", "boosted_trees", "tree"):
        assert by_name(found)[name].metrics["accuracy"].value > 0.98, name


def test_several_labels_and_a_label_that_is_never_set(make_examples, make_encoder):
    rng = np.random.default_rng(0)
    task = Task(kind="multilabel", classes=("a", "b", "c"))
    inputs = rng.normal(size=(500, 4)).astype(np.float32)
    target = (inputs[:, :3] > 0).astype(np.float32)
    target[:, 2] = 0
    train, test = (make_examples([inputs[p]], target[p], task)
                   for p in (slice(0, 350), slice(350, None)))  # fmt: skip
    found = run_baselines(train, None, test, task, make_encoder(task), seed=0, seconds=20)
    for name, record in by_name(found).items():
        assert found.predictions[name].shape == (150, 3)
        assert name == "constant" or record.metrics["accuracy"].value > 0.85, name


def test_several_numbers_at_once(make_examples, make_encoder):
    rng = np.random.default_rng(0)
    task = Task(kind="regression", num_targets=2)
    inputs = rng.normal(size=(300, 4)).astype(np.float32)
    target = np.stack([inputs[:, 0], -inputs[:, 1]], axis=1)
    train = make_examples([inputs], target, task)
    found = run_baselines(train, None, train, task, make_encoder(task), seed=0, seconds=20)
    assert by_name(found)["linear"].metrics["r2"].value > 0.99
    assert found.predictions["constant"].shape == (300, 2)


def test_one_class_in_training_fails_the_learners_and_not_the_run(make_examples, make_encoder):
    inputs = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    train = make_examples([inputs], np.zeros(80, dtype=np.int64), TWO)
    found = run_baselines(train, None, train, TWO, make_encoder(TWO), seed=0, seconds=5)
    assert by_name(found)["constant"].metrics["accuracy"].value == 1
    failed = by_name(found)["logistic"]
    assert not failed.metrics
    assert [notice.code for notice in failed.notices] == ["baseline_failed"]
    assert "logistic" in say_notice(failed.notices[0])


def test_inputs_that_no_learner_takes_become_notices(digits, make_encoder):
    digits[0].inputs[0][5] = float("nan")
    found = run_baselines(*digits, DIGITS, make_encoder(DIGITS), seed=0, seconds=4)
    assert "baseline_failed" in [n.code for n in by_name(found)["logistic"].notices]
    assert found.predictions["constant"].shape == (397, 10)


def test_little_time_means_fewer_rows_and_is_said(make_examples, make_encoder):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(20_000, 60)).astype(np.float32)
    target = (inputs @ rng.normal(size=(60, 6))).argmax(axis=1)
    task = Task(kind="multiclass", classes=tuple("abcdef"))
    train = make_examples([inputs], target, task)
    small = make_examples([inputs[:500]], target[:500], task)
    encoder = make_encoder(task)
    run_baselines(small, None, small, task, encoder, seed=0, seconds=0.5)  # imports are not timed
    began = time.perf_counter()
    found = run_baselines(train, None, small, task, encoder, seed=0, seconds=1.5)
    assert time.perf_counter() - began < 8, "seconds are kept in order of magnitude"
    codes = {n.code for record in found.baselines for n in record.notices}
    assert codes & {"baseline_subsampled", "baseline_skipped"}
    assert {f"notice.{code}" for code in codes} <= known_codes()


def test_no_time_at_all_leaves_the_constant(digits, make_encoder):
    found = run_baselines(*digits, DIGITS, make_encoder(DIGITS), seed=0, seconds=0)
    assert list(found.predictions) == ["constant"]
    assert found.chosen == "constant"
    assert all(r.notices[0].code == "baseline_skipped" for r in found.baselines[1:])


def test_a_seed_gives_the_same_predictions_twice(digits, make_encoder, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_ROWS", 300)
    monkeypatch.setattr(baselines, "learners_for", lambda task: ("constant", "tree", "linear_svm"))
    first, second = (
        run_baselines(*digits, DIGITS, make_encoder(DIGITS), seed=4, seconds=60) for _ in range(2)
    )
    for name in first.predictions:
        assert np.array_equal(first.predictions[name], second.predictions[name]), name
    assert by_name(first)["tree"].notices[0].values["rows"] == 300


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("image", (3, 96, 64)), ("audio", (40, 200)), ("audio", (1, 9000)), ("image", (1, 8, 8)),
     ("features", (5000,))],
)  # fmt: skip
def test_large_inputs_are_averaged_down(kind, shape, make_examples):
    examples = make_examples([torch.ones(3, *shape)], torch.zeros(3).long(), TWO, kind=kind)
    rows = flatten(next(examples.batches(3)), examples.signature)
    assert 0.5 * min(MOST_FEATURES, np.prod(shape)) <= rows.numbers.shape[1] <= MOST_FEATURES
    if not (kind == "audio" and shape[0] == 1):
        assert np.allclose(rows.numbers, 1), "the mean of ones is one"


def test_a_draw_of_rows_keeps_rows_and_targets_together(make_examples):
    inputs = np.arange(5000, dtype=np.float32)[:, None]
    examples = make_examples([inputs], inputs[:, 0], NUMBER)
    rows = read_some(examples, seed=0, most=700)
    assert len(rows) == 700
    assert np.array_equal(rows.numbers[:, 0], rows.target)
    assert len(np.unique(rows.target)) == 700
    assert rows.target.max() > 4500, "the draw reaches the end"


def test_the_best_has_the_smallest_error_or_the_largest_share():
    target = np.zeros(4)
    assert best_of(NUMBER, {"far": target + 2, "near": target + 1}, target) == "near"
    assert best_of(NUMBER, {"broken": target + np.nan}, target) is None
