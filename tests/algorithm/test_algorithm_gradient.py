"""Clipping, averaging and precision against torch's own and closed forms."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainwright.algorithm.average import Average, build_average
from trainwright.algorithm.gradient import GradientWork
from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.optimizer import build_optimizers
from trainwright.algorithm.precision import build_precision
from trainwright.algorithm.resolve import resolve
from trainwright.algorithm.update import Update

CPU = torch.device("cpu")


def model_with_gradients(scale=1.0):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    (scale * module(torch.randn(8, 4)).square().sum()).backward()
    return module


def resolved(**settings):
    return resolve(AlgorithmKnobs(**settings), num_train=100)


@given(limit=st.floats(1e-3, 1e3), scale=st.floats(1e-3, 1e3))
def test_clipping_by_norm_equals_torchs(limit, scale):
    ours, theirs = model_with_gradients(scale), model_with_gradients(scale)
    norm = GradientWork(resolved(clip_norm=limit), ours).before_step()
    expected = nn.utils.clip_grad_norm_(theirs.parameters(), limit)
    assert torch.equal(norm, expected)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    length = torch.cat([p.grad.flatten() for p in ours.parameters()]).norm()
    assert length <= limit * (1 + 1e-5)


def test_clipping_by_value_bounds_every_entry():
    module = model_with_gradients(100.0)
    before = [p.grad.clone() for p in module.parameters()]
    assert GradientWork(resolved(clip_value=0.5), module).before_step() is None
    for parameter, gradient in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, gradient.clamp(-0.5, 0.5))


def test_penalties_count_towards_the_clipped_length():
    module = model_with_gradients()
    GradientWork(resolved(clip_norm=0.1, l2=50.0), module).before_step()
    length = torch.cat([p.grad.flatten() for p in module.parameters()]).norm()
    assert length == pytest.approx(0.1, rel=1e-4)


def test_without_knobs_gradients_and_weights_stay_to_the_bit():
    module = model_with_gradients()
    before = [(p.detach().clone(), p.grad.clone()) for p in module.parameters()]
    work = GradientWork(resolved(optimizer="sgd"), module)
    assert work.before_step() is None
    work.decay(0.1)
    work.after_step(0.1)
    for parameter, (weight, gradient) in zip(module.parameters(), before, strict=True):
        assert torch.equal(parameter, weight)
        assert torch.equal(parameter.grad, gradient)


@given(decay=st.floats(0, 0.999), steps=st.integers(1, 30))
def test_average_equals_its_closed_form(decay, steps):
    module = nn.Linear(2, 2).double()
    average = Average(module, decay)
    seen = []
    for step in range(steps):
        with torch.no_grad():
            module.weight.fill_(float((step * 7) % 5))
        average.update()
        seen.append(float((step * 7) % 5))
    weights = [decay ** (steps - 1 - i) for i in range(steps)]
    expected = sum(w * x for w, x in zip(weights, seen, strict=True)) / sum(weights)
    got = average.weights()["weight"]
    torch.testing.assert_close(got, torch.full_like(got, expected), atol=1e-9, rtol=1e-9)


def test_average_is_applied_inside_and_the_live_weights_come_back_to_the_bit():
    module = nn.Linear(3, 1)
    average = Average(module, 0.9)
    for _ in range(3):
        with torch.no_grad():
            module.weight.add_(1)
        average.update()
    live = module.weight.detach().clone()
    mean = average.weights()["weight"].clone()
    x = torch.ones(1, 3)
    with average.applied():
        torch.testing.assert_close(module(x), x @ mean.T + average.weights()["bias"])
    assert torch.equal(module.weight, live)
    assert torch.equal(average.weights()["weight"], mean)


def test_average_continues_from_its_state_to_the_bit():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    whole, first, second = (Average(module, 0.9) for _ in range(3))
    drawn = [torch.randn(3, 3) for _ in range(6)]
    for step, weight in enumerate(drawn):
        with torch.no_grad():
            module[0].weight.copy_(weight)
        if step == 3:
            second.load({k: t.clone() for k, t in first.state().items()})
        whole.update()
        (first if step < 3 else second).update()
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, second.weights()[name]), name


def test_a_shared_tensor_is_averaged_under_both_its_names():
    module = nn.ModuleDict({"in": nn.Linear(3, 3), "out": nn.Linear(3, 3)})
    module["out"].weight = module["in"].weight
    average = build_average(AlgorithmKnobs(average="ema"), module)
    average.update()
    assert average.weights()["in.weight"] is average.weights()["out.weight"]
    assert set(average.weights()) == set(module.state_dict())


def test_no_average_is_kept_unless_asked():
    assert build_average(AlgorithmKnobs(), nn.Linear(1, 1)) is None


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_every_precision_learns_a_line(name):
    torch.manual_seed(0)
    knobs = resolved(optimizer="sgd", precision=name)
    x = torch.randn(64, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])
    module = nn.Linear(4, 1)
    precision = build_precision(knobs, CPU)
    update = Update(knobs, module, build_optimizers(knobs, module), precision)
    losses = []
    for _ in range(60):
        module.zero_grad()
        with precision.autocast():
            loss = nn.functional.mse_loss(module(x).float(), y)
        precision.backward(loss)
        update(0.02)
        losses.append(loss.item())
    assert module.weight.dtype == torch.float32
    assert losses[-1] < 0.02 * losses[0]


def test_float16_leaves_out_a_step_that_overflowed_and_halves_its_scale():
    knobs = resolved(optimizer="sgd", precision="float16", weight_decay=0.5, l1=1.0)
    module = nn.Linear(2, 1)
    precision = build_precision(knobs, CPU)
    update = Update(knobs, module, build_optimizers(knobs, module), precision)
    before = module.weight.detach().clone()
    precision.backward(module(torch.ones(1, 2)).sum())
    scale = precision.state()["scale"]
    module.weight.grad[0, 0] = float("inf")
    update(0.1)
    assert torch.equal(module.weight, before)
    assert precision.state()["scale"] == scale / 2


def test_the_scaler_continues_from_its_state():
    knobs = resolved(optimizer="sgd", precision="float16")
    module = nn.Linear(2, 1)
    first, second = build_precision(knobs, CPU), build_precision(knobs, CPU)
    update = Update(knobs, module, build_optimizers(knobs, module), first)
    first.backward(module(torch.ones(1, 2)).sum())
    update(0.1)
    second.load(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    assert first.state()["_growth_tracker"] == 1
