"""Data are described as they are: scale, doubles, overlap, balance, order, neighbours."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from trainwright.check.data import input_facts, input_kind, target_facts
from trainwright.check.pairing.answers import target_kind
from trainwright.check.sample import sample_from

CPU = torch.device("cpu")


def sample(x, y=None):
    return sample_from((x, torch.zeros(len(x)) if y is None else y), device=CPU)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scale_offset_and_constants_are_those_of_the_columns():
    x = normal(500, 4)
    x[:, 1] = x[:, 1] * 1000 + 5000
    x[:, 2] = 3.0
    found = input_facts(sample(x))
    sd = x.double().std(0, unbiased=False)
    assert found.constant_features == (2,)
    assert found.feature_sd_high == pytest.approx(float(sd[1]), rel=1e-6)
    assert found.feature_sd_low == pytest.approx(float(sd[[0, 3]].min()), rel=1e-6)
    assert found.feature_offset_high == pytest.approx(float(x[:, 1].mean() / sd[1]), rel=1e-4)
    assert (found.kind, found.num_features, found.num_examples) == ("table", 4, 500)


def test_bad_and_wild_rows_are_named_by_their_place():
    x = normal(300, 3)
    x[17, 1], x[40, 0], x[222, 2] = float("nan"), float("inf"), 500.0
    found = input_facts(sample(x))
    assert found.nonfinite_rows == 2
    assert found.outlier_rows == (222,)


def test_columns_that_are_mostly_zero_have_no_outliers():
    x = (torch.rand(400, 5, generator=torch.Generator().manual_seed(0)) > 0.97).float()
    assert input_facts(sample(x)).outlier_rows == ()


@given(st.integers(0, 30), st.integers(0, 99))
def test_doubles_and_overlap_are_counted(copies, seed):
    x, new = normal(60, 3, seed=seed), normal(40, 3, seed=seed + 1000)
    train = torch.cat([x, x[:copies]])
    new[:copies] = x[:copies]
    found = input_facts(sample(train), sample(new))
    assert found.duplicate_share == pytest.approx(copies / len(train))
    assert found.overlap_share == pytest.approx(copies / 40)


def test_overlap_is_found_in_data_far_larger_than_the_sample():
    x = normal(30_000, 3)
    assert input_facts(sample(x), sample(x[12_345:13_345])).overlap_share == 1.0


def test_a_shift_between_the_splits_is_measured_in_sd_of_training():
    x = normal(2000, 3)
    found = input_facts(sample(x), sample(x * 255 + 10))
    assert found.shift_scale == pytest.approx(255, rel=1e-3)
    assert (found.shift_sd or 0) > 5
    same = input_facts(sample(x), sample(normal(2000, 3, seed=1)))
    assert (same.shift_sd or 0) < 0.2
    assert (same.shift_scale or 9) < 1.1


def test_kinds_of_inputs_go_by_shape_and_type():
    kinds = {(9, 4): "table", (9, 7, 5): "sequence", (9, 3, 8, 8): "image", (9, 28, 28): "image"}
    assert {shape: input_kind(torch.zeros(shape)) for shape in kinds} == kinds
    assert input_kind(torch.zeros(9, 12, dtype=torch.long)) == "tokens"


@pytest.mark.parametrize(("targets", "outputs", "kind"), [
    (torch.arange(60) % 5, (60, 5), "indices"), (torch.arange(60) % 2, (60, 2), "indices"),
    (torch.arange(60) % 2, (60, 1), "zero_one"), ((torch.arange(60) % 2).float(), (60,), "zero_one"),
    (F.one_hot(torch.arange(60) % 5).float(), (60, 5), "one_hot"),
    (normal(60, 5).softmax(1), (60, 5), "one_hot"), ((normal(60, 5) > 0).float(), (60, 5), "multi_hot"),
    ((torch.arange(60) % 2).float() * 2 - 1, (60, 1), "plus_minus_one"),
    (normal(60, 1), (60, 1), "real"), (normal(60, 3), (60, 3), "real"),
    (torch.arange(60) % 5, (60, 1), "indices"), (torch.arange(60) * 7, (60, 1), "real"),
    (torch.randint(0, 9, (60, 7)), (60, 7, 9), "indices"),
    (torch.randint(0, 9, (60, 6, 6)), (60, 9, 6, 6), "indices"),
])  # fmt: skip
def test_kinds_of_targets(targets, outputs, kind):
    assert target_kind(targets, outputs) == kind


def test_labels_that_follow_the_inputs_agree_with_neighbours_and_shuffled_ones_do_not():
    x = normal(600, 4)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    right = target_facts(sample(x, y), outputs=(600, 3))
    assert (right.neighbour_agreement or 0) > 0.7
    shuffled = y[torch.randperm(600, generator=torch.Generator().manual_seed(1))]
    wrong = target_facts(sample(x, shuffled), outputs=(600, 3))
    assert abs((wrong.neighbour_agreement or 0) - (wrong.neighbour_chance or 0)) < 0.03
    assert (right.neighbour_agreement or 0) > (right.neighbour_chance_high or 1)
    real = target_facts(sample(x, x[:, :1] + x[:, 1:2]), outputs=(600, 1))
    assert (real.neighbour_agreement or 0) > 0.8
    assert (real.neighbour_chance_high or 1) < 0.05


@pytest.mark.parametrize("classes", [True, False])
def test_order_is_one_when_sorted_and_nothing_when_shuffled(classes):
    y = torch.arange(600) // 200 if classes else torch.linspace(0, 1, 600)[:, None]
    shape = (600, 3) if classes else (600, 1)
    x = normal(600, 2)
    ordered = target_facts(sample(x, y), outputs=shape)
    mixed = y[torch.randperm(600, generator=torch.Generator().manual_seed(1))]
    assert (ordered.order_correlation or 0) > 0.97
    assert abs(target_facts(sample(x, mixed), outputs=shape).order_correlation or 0) < 0.1


def test_the_leaked_column_is_the_one_that_predicts_alone():
    x = normal(400, 5)
    y = (normal(400, seed=2) > 0).long()
    x[:, 3] = y + 0.01 * normal(400, seed=3)
    found = target_facts(sample(x, y), outputs=(400, 2)).single_feature
    assert found is not None
    assert found[0] == 3
    assert found[2] < 0.7
    assert found[1] > 0.98


def test_counts_conflicts_and_bad_values():
    x = normal(100, 2).repeat(2, 1)
    y = torch.cat([torch.zeros(100), torch.ones(100)]).long()
    found = target_facts(sample(x, y), sample(x[:4], y[:4]), outputs=(200, 3))
    assert found.conflicting_share == 1.0
    assert found.counts == (100, 100, 0)
    assert found.valid_counts == (4, 0, 0)
    bad = normal(50, 1)
    bad[3] = float("nan")
    assert target_facts(sample(normal(50, 2), bad), outputs=(50, 1)).bad_values == 1


def test_arrays_of_numpy_are_taken_in_torchs_precision():
    found = sample_from((np.zeros((9, 2)), np.zeros(9, dtype=np.int32)), device=CPU)
    assert found.inputs[0].dtype == torch.float32
    assert found.targets.dtype == torch.int64
