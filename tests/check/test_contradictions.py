"""Wrong labels are seen by two quick learners, and hard ones are not taken for wrong."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

from trainwright.check import reference
from trainwright.check.data import target_facts
from trainwright.check.reference import contradiction_facts
from trainwright.check.sample import sample_from


def contradictions(x, y, num_outputs=None):
    sample = sample_from((x, y), device=torch.device("cpu"))
    outputs = (len(x), num_outputs or int(max(y)) + 1)
    return contradiction_facts(sample, target_facts(sample, None, outputs=outputs))


def flipped(y, share):
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y)) < share
    return np.where(wrong, (y + rng.integers(1, y.max() + 1, len(y))) % (y.max() + 1), y)


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_the_share_of_wrong_labels_is_nearly_the_share_of_contradictions(load):
    x, y = load(return_X_y=True)
    assert contradictions(x, y).confident_error < 0.03
    found = contradictions(x, flipped(y, 0.3))
    assert found.confident_error == pytest.approx(0.3, abs=0.08)
    assert found.confident_score == pytest.approx(0.65, abs=0.08)
    assert found.reference is None


def test_learners_that_are_not_sure_contradict_nobody():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (1000, 10)).astype("float32")
    parity = x[:, :6].sum(1).astype(int) % 2
    found = contradictions(x, parity)
    assert found.confident_error is None
    assert found.confident_score is None


def test_numbers_have_no_wrong_classes_and_a_linear_score_all_the_same():
    x, y = load_diabetes(return_X_y=True)
    sample = sample_from((x, y[:, None]), device=torch.device("cpu"))
    found = contradiction_facts(sample, target_facts(sample, None, outputs=(len(x), 1)))
    assert found.metric == "r2"
    assert found.confident_error is None
    assert (found.linear or 0) > 0.4


def test_large_examples_are_looked_at_more_coarsely(monkeypatch):
    table, widths = reference._table, []
    monkeypatch.setattr(
        reference, "_table", lambda x, new: (widths.append(x.shape[1]), table(x, new))[1]
    )
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    x = rng.normal(size=(400, 3, 32, 32)).astype("float32") + y[:, None, None, None]
    assert contradictions(x, y).confident_error < 0.05
    assert widths == [512]
