"""Each loss against torch, scikit-learn or its formula in numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainwright.core.task import PAIRINGS, Task
from trainwright.loss.build import build_objective
from trainwright.loss.knobs import LossKnobs

BINARY = Task(kind="binary", classes=("no", "yes"))
THREE = Task(kind="multiclass", classes=("a", "b", "c"))
LABELS = Task(kind="multilabel", classes=("x", "y", "z"))
NUMBER = Task(kind="regression")
COUNTS = [10, 30, 60]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def outputs_of(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(rows, columns, generator=generator(seed), dtype=torch.float64)


def classes_of(rows: int, num: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(num, (rows,), generator=generator(seed))


def objective(task: Task, num_outputs: int, counts=None, **knobs):
    return build_objective(LossKnobs(**knobs), task, class_counts=counts, num_outputs=num_outputs)


def every_objective():
    for task in (BINARY, THREE, LABELS, NUMBER):
        for row in PAIRINGS[task.kind]:
            yield pytest.param(
                objective(task, row.num_outputs(task), name=row.loss),
                task,
                row.num_outputs(task),
                id=f"{task.kind}-{row.loss}",
            )


def target_of(task: Task, rows: int) -> torch.Tensor:
    match task.kind:
        case "multilabel":
            return torch.randint(2, (rows, 3), generator=generator(2)).double()
        case "regression":
            return torch.rand(rows, generator=generator(3), dtype=torch.float64) * 5
        case _:
            return classes_of(rows, len(task.classes))


@pytest.mark.parametrize(("made", "task", "num"), list(every_objective()))
def test_the_mean_over_examples_is_the_loss(made, task, num):
    outputs, target = outputs_of(17, num), target_of(task, 17)
    each = made.per_example(outputs, target)
    assert each.shape == (17,)
    assert float(each.mean()) == pytest.approx(float(made(outputs, target)), rel=1e-10)


@pytest.mark.parametrize(("made", "task", "num"), list(every_objective()))
def test_the_gradient_is_the_slope_of_the_loss(made, task, num):
    outputs = outputs_of(5, num).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: made(z, target_of(task, 5)), (outputs,))


@pytest.mark.parametrize(("made", "task", "num"), list(every_objective()))
def test_members_are_averaged_in_loss_and_in_prediction(made, task, num):
    first, second, target = outputs_of(9, num), outputs_of(9, num, 5), target_of(task, 9)
    both = torch.stack([first, second], dim=1)
    assert torch.allclose(made(both, target), (made(first, target) + made(second, target)) / 2)
    mean = (made.predict(first) + made.predict(second)) / 2
    assert torch.allclose(made.predict(both), mean)
    each = (made.per_example(first, target) + made.per_example(second, target)) / 2
    assert torch.allclose(made.per_example(both, target), each)


@pytest.mark.parametrize(("made", "task", "num"), list(every_objective()))
def test_predictions_of_classes_are_probabilities(made, task, num):
    predicted = made.predict(outputs_of(11, num))
    if task.kind == "regression":
        assert predicted.shape == (11,)
        return
    assert predicted.shape == (11, len(task.classes))
    assert bool(((predicted >= 0) & (predicted <= 1)).all())
    if task.kind != "multilabel":
        assert torch.allclose(predicted.sum(dim=1), torch.ones(11, dtype=torch.float64))


@given(smoothing=st.floats(0, 0.9), seed=st.integers(0, 99), weighted=st.booleans())
@settings(max_examples=25, deadline=None)
def test_one_logit_equals_softmax_on_zero_and_that_logit(smoothing, seed, weighted):
    knobs = {"label_smoothing": smoothing, "class_weights": "balanced" if weighted else "none"}
    logit, target = outputs_of(13, 1, seed).float(), classes_of(13, 2, seed)
    two = torch.cat([torch.zeros_like(logit), logit], dim=1)
    one = objective(BINARY, 1, [30, 10], **knobs)
    soft = objective(BINARY, 2, [30, 10], name="cross_entropy", **knobs)
    assert torch.allclose(one(logit, target), soft(two, target), atol=1e-5)
    assert torch.allclose(one.predict(logit), soft.predict(two), atol=1e-6)
    assert torch.allclose(one.per_example(logit, target), soft.per_example(two, target), atol=1e-5)


def test_plain_cross_entropy_is_torchs_function_itself():
    assert objective(THREE, 3).mean is functional.cross_entropy


def test_smoothing_and_weights_equal_torchs():
    outputs, target = outputs_of(20, 3).float(), classes_of(20, 3)
    made = objective(THREE, 3, COUNTS, label_smoothing=0.1, class_weights="balanced")
    weight = torch.tensor([100 / 30, 100 / 90, 100 / 180])
    oracle = functional.cross_entropy(outputs, target, weight=weight, label_smoothing=0.1)
    assert torch.allclose(made(outputs, target), oracle)


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    from trainwright.loss.pairing import class_weights

    target = np.repeat([0, 1, 2], COUNTS)
    oracle = compute_class_weight("balanced", classes=np.arange(3), y=target)
    assert class_weights(LossKnobs(class_weights="balanced"), THREE, COUNTS) == pytest.approx(
        oracle
    )


def test_a_table_of_weights_goes_by_the_users_own_names():
    outputs, target = outputs_of(20, 3).float(), classes_of(20, 3)
    made = objective(THREE, 3, class_weights={"b": 5.0})
    oracle = functional.cross_entropy(outputs, target, weight=torch.tensor([1.0, 5.0, 1.0]))
    assert torch.allclose(made(outputs, target), oracle)


def test_binary_cross_entropy_equals_scikit_learns_log_loss():
    from sklearn.metrics import log_loss

    logit, target = outputs_of(50, 1), classes_of(50, 2)
    oracle = log_loss(target.numpy(), logit[:, 0].sigmoid().numpy())
    assert float(objective(BINARY, 1)(logit, target)) == pytest.approx(oracle)


def test_several_labels_are_several_binary_losses():
    outputs, target = outputs_of(20, 3), target_of(LABELS, 20)
    oracle = torch.stack(
        [functional.binary_cross_entropy_with_logits(outputs[:, i], target[:, i]) for i in range(3)]
    ).mean()
    assert torch.allclose(objective(LABELS, 3)(outputs, target), oracle)


def test_label_smoothing_moves_binary_targets_towards_a_half():
    outputs, target = outputs_of(20, 3), target_of(LABELS, 20)
    made = objective(LABELS, 3, label_smoothing=0.2)
    oracle = functional.binary_cross_entropy_with_logits(outputs, target * 0.8 + 0.1)
    assert torch.allclose(made(outputs, target), oracle)


@pytest.mark.parametrize("num", [2, 3])
def test_hinge_equals_scikit_learns(num):
    from sklearn.metrics import hinge_loss

    target = classes_of(40, num)
    if num == 2:
        outputs = outputs_of(40, 1)
        made = objective(BINARY, 1, name="hinge")
        oracle = hinge_loss(target.numpy(), outputs[:, 0].numpy())
    else:
        outputs = outputs_of(40, 3)
        made = objective(THREE, 3, name="hinge")  # Crammer and Singer, as scikit-learn's metric
        oracle = hinge_loss(target.numpy(), outputs.numpy(), labels=[0, 1, 2])
    assert float(made(outputs, target)) == pytest.approx(oracle)
    squared = objective(
        BINARY if num == 2 else THREE, 1 if num == 2 else 3, name="hinge", hinge_power=2
    )
    each = made.per_example(outputs, target)
    assert torch.allclose(squared.per_example(outputs, target), each**2)


def test_weighted_hinge_divides_by_the_weights():
    outputs, target = outputs_of(20, 3), classes_of(20, 3)
    plain = objective(THREE, 3, name="hinge").per_example(outputs, target)
    made = objective(THREE, 3, name="hinge", class_weights={"a": 4.0})
    weights = torch.tensor([4.0, 1.0, 1.0])[target]
    assert torch.allclose(made(outputs, target), (plain * weights).sum() / weights.sum())


def test_losses_for_numbers_equal_their_formulas():
    from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_squared_error

    outputs, target = outputs_of(30, 1), target_of(NUMBER, 30)
    z, y = outputs[:, 0].numpy(), target.numpy()
    e = np.abs(y - z)
    oracles = {
        "squared": mean_squared_error(y, z),
        "absolute": mean_absolute_error(y, z),
        "huber": np.where(e <= 0.7, e**2 / 2, 0.7 * (e - 0.35)).mean(),
        "quantile": mean_pinball_loss(y, z, alpha=0.9),
        "poisson": (np.exp(z) - y * z).mean(),
    }
    settings_of = {"huber": {"huber_delta": 0.7}, "quantile": {"quantile": 0.9}}
    for name, oracle in oracles.items():
        made = objective(NUMBER, 1, name=name, **settings_of.get(name, {}))
        assert float(made(outputs, target)) == pytest.approx(oracle), name


def test_poisson_predicts_rates_and_others_predict_what_they_output():
    outputs = outputs_of(6, 1)
    poisson = objective(NUMBER, 1, name="poisson")
    assert torch.allclose(poisson.predict(outputs), outputs[:, 0].exp())
    assert poisson.needs_raw_target
    assert not objective(NUMBER, 1).needs_raw_target
    assert torch.equal(objective(NUMBER, 1).predict(outputs), outputs[:, 0])


@given(level=st.sampled_from([0.1, 0.25, 0.5, 0.8]), seed=st.integers(0, 50))
@settings(max_examples=15, deadline=None)
def test_the_quantile_loss_is_least_at_the_quantile(level, seed):
    target = torch.randn(101, generator=generator(seed), dtype=torch.float64)
    made = objective(NUMBER, 1, name="quantile", quantile=level)
    grid = target.sort().values
    losses = torch.stack([made(at.expand(101, 1), target) for at in grid])
    assert abs(float((target <= grid[losses.argmin()]).double().mean()) - level) < 0.02


def test_outputs_of_one_column_never_broadcast_on_the_target():
    for name in ("squared", "absolute", "huber", "quantile", "poisson"):
        made = objective(NUMBER, 1, name=name)
        column, target = outputs_of(8, 1), target_of(NUMBER, 8)
        assert torch.equal(made(column, target), made(column[:, 0], target))


def test_several_targets_are_averaged():
    task = Task(kind="regression", num_targets=2)
    outputs, target = outputs_of(8, 2), outputs_of(8, 2, 9)
    made = objective(task, 2)
    assert torch.allclose(made(outputs, target), functional.mse_loss(outputs, target))
    assert made.per_example(outputs, target).shape == (8,)
    assert made.predict(outputs).shape == (8, 2)


def test_half_precision_outputs_are_predicted_in_single():
    predicted = objective(THREE, 3).predict(outputs_of(4, 3).bfloat16())
    assert predicted.dtype == torch.float32
