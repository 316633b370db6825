"""What can be had is estimated fairly by quick learners."""

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_score

from trainwright.check.data import target_facts
from trainwright.check.reference import reference_facts
from trainwright.check.sample import sample_from

CPU = torch.device("cpu")


def reference(x, y, outputs, valid=None, seconds=3.0):
    sample = sample_from((x, y), device=CPU)
    held = sample_from(valid, device=CPU) if valid is not None else None
    facts = target_facts(sample, held, outputs=(len(x), *outputs))
    return reference_facts(sample, held, facts, seconds=seconds)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_parabola_can_be_had_by_curved_learners_only(scale):
    x = torch.linspace(-1, 1, 150)[torch.randperm(150)][:, None]
    found = reference(x * scale, x**2 * scale, (1,))
    assert (found.reference or 0) > 0.98
    assert (found.linear or 0) < 0.2
    assert found.constant == 0.0


def test_noise_cannot_be_had():
    x, y = normal(300, 5), normal(300, 1, seed=1)
    found = reference(x, y, (1,))
    assert abs(found.reference or 0) < 0.1
    coin = reference(x, (y[:, 0] > 0).long(), (2,))
    assert (coin.reference or 0) < coin.constant + 0.1


@pytest.mark.parametrize(("load", "low"), [
    (load_digits, 0.96), (load_wine, 0.96), (load_breast_cancer, 0.95)])  # fmt: skip
def test_real_tables_are_near_what_is_known_of_them(load, low):
    x, y = load(return_X_y=True)
    found = reference(x, y, (len(set(y)),))
    assert (found.reference or 0) > low


def test_diabetes_is_as_noisy_as_ridge_says():
    x, y = load_diabetes(return_X_y=True)
    oracle = float(cross_val_score(RidgeCV(), x, y, cv=3).mean())
    found = reference(x, y[:, None], (1,))
    assert found.linear == pytest.approx(oracle, abs=0.05)
    assert oracle - 0.03 < (found.reference or 0) < 0.55


def test_a_few_rows_give_the_constant_alone():
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    found = reference(x, torch.tensor([[0.0], [1], [1], [0]]), (1,))
    assert (found.constant, found.reference, found.linear) == (0.5, None, None)


def test_the_validation_split_is_what_is_scored():
    x = normal(300, 4)
    y = (x[:, 0] > 0).long()
    found = reference(x, y, (2,), valid=(normal(100, 4, seed=9), torch.zeros(100).long()))
    assert found.constant == 1.0
    assert (found.num_train, found.num_valid) == (300, 100)


def test_several_labels_count_only_when_all_are_right():
    x = normal(400, 4)
    y = (x[:, :3] > 0).float()
    found = reference(x, y, (3,))
    assert found.constant == pytest.approx(0.125, abs=0.05)
    assert (found.reference or 0) > 0.75


@pytest.mark.parametrize("held_out", [True, False])
def test_sure_learners_contradict_wrong_labels_and_not_sound_ones(held_out):
    x, y = map(torch.as_tensor, load_digits(return_X_y=True))
    x, own = x.float(), torch.Generator().manual_seed(0)
    noisy = torch.where(torch.rand(1200, generator=own) < 0.4,
                        torch.randint(0, 10, (1200,), generator=own), y[:1200])  # fmt: skip
    valid = (x[1200:], y[1200:]) if held_out else None
    sound = reference(x[:1200], y[:1200], (10,), valid).confident_error
    wrong = reference(x[:1200], noisy, (10,), valid).confident_error
    assert (1.0 if sound is None else sound) < 0.02
    assert 0.25 < (wrong or 0) < 0.5
