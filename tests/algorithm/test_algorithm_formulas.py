"""One explicit step of every optimiser is its own formula, in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.algorithm.optimizer import build_optimizers
from trainwright.algorithm.precision import build_precision
from trainwright.algorithm.resolve import resolve
from trainwright.algorithm.update import Update
from trainwright.core.errors import ModelError

RATE = 0.01
STEPS = 3


def knobs_for(**settings):
    return resolve(AlgorithmKnobs(**settings), num_train=100)


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def update_for(knobs, module):
    precision = build_precision(knobs, torch.device("cpu"))
    return Update(knobs, module, build_optimizers(knobs, module), precision)


def walk(knobs, module, gradients):
    """Weights after one step for each list of gradients."""
    update = update_for(knobs, module)
    for step in gradients:
        for parameter, gradient in zip(module.parameters(), step, strict=True):
            parameter.grad = torch.from_numpy(gradient).clone()
        update(RATE)
    return [p.detach().numpy() for p in module.parameters()]


def drawn_gradients(module, seed=1):
    numbers = np.random.default_rng(seed)
    return [[numbers.normal(size=tuple(p.shape)) for p in module.parameters()]
            for _ in range(STEPS)]  # fmt: skip


def by_formula(formula, start, gradients):
    states = [{} for _ in start]
    weights = [w.copy() for w in start]
    for t, step in enumerate(gradients, 1):
        weights = [formula(w, g, s, t) for w, g, s in zip(weights, step, states, strict=True)]
    return weights


def sgd(momentum=0.0, nesterov=False):
    """Sutskever et al. 2013, in torch's form: b <- m b + g; w <- w - rate b (or g + m b)."""

    def formula(w, g, s, t):
        s["b"] = g if t == 1 else momentum * s["b"] + g
        return w - RATE * (g + momentum * s["b"] if nesterov else s["b"])

    return formula


def adam(b1=0.9, b2=0.999, eps=1e-8):
    """Kingma & Ba 2015, algorithm 1."""

    def formula(w, g, s, t):
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
        return w - RATE * (s["m"] / (1 - b1**t)) / (np.sqrt(s["v"] / (1 - b2**t)) + eps)

    return formula


def decayed(formula, decay):
    """Loshchilov & Hutter 2019, algorithm 2, line 12; weights only."""

    def with_decay(w, g, s, t):
        return formula(w * (1 - RATE * decay) if w.ndim >= 2 else w, g, s, t)

    return with_decay


def nadam(b1=0.9, b2=0.999, eps=1e-8, psi=0.004):
    """Dozat 2016, algorithm 8, with its schedule of momentum."""

    def formula(w, g, s, t):
        now, later = (b1 * (1 - 0.5 * 0.96 ** (k * psi)) for k in (t, t + 1))
        s["product"] = s.get("product", 1.0) * now
        s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
        s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
        mean = later * s["m"] / (1 - s["product"] * later) + (1 - now) * g / (1 - s["product"])
        return w - RATE * mean / (np.sqrt(s["v"] / (1 - b2**t)) + eps)

    return formula


def rmsprop(alpha=0.99, eps=1e-8, momentum=0.0):
    """Hinton 2012, lecture 6e; momentum as in Graves 2013."""

    def formula(w, g, s, t):
        s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g**2
        s["b"] = momentum * s.get("b", 0) + g / (np.sqrt(s["v"]) + eps)
        return w - RATE * s["b"]

    return formula


def adagrad(eps=1e-10):
    """Duchi et al. 2011, equation 1."""

    def formula(w, g, s, t):
        s["sum"] = s.get("sum", 0) + g**2
        return w - RATE * g / (np.sqrt(s["sum"]) + eps)

    return formula


@pytest.mark.parametrize(
    ("settings", "formula"),
    [
        ({"optimizer": "sgd", "momentum": 0}, sgd()),
        ({"optimizer": "sgd"}, sgd(0.9)),
        ({"optimizer": "sgd", "momentum": 0.8, "nesterov": True}, sgd(0.8, nesterov=True)),
        ({"optimizer": "sgd", "weight_decay": 0.3}, decayed(sgd(0.9), 0.3)),
        ({"optimizer": "adam"}, adam()),
        ({"optimizer": "adam", "momentum": 0.8, "beta2": 0.95, "eps": 0.1}, adam(0.8, 0.95, 0.1)),
        ({"optimizer": "adamw"}, decayed(adam(), 0.01)),
        ({"optimizer": "nadam"}, nadam()),
        ({"optimizer": "rmsprop"}, rmsprop()),
        ({"optimizer": "rmsprop", "momentum": 0.9, "beta2": 0.9}, rmsprop(0.9, momentum=0.9)),
        ({"optimizer": "adagrad", "weight_decay": 0.5}, decayed(adagrad(), 0.5)),
    ],
)
def test_steps_of_each_optimiser_equal_its_own_formula(settings, formula):
    module = small_model()
    start = [p.detach().numpy().copy() for p in module.parameters()]
    gradients = drawn_gradients(module)
    moved = walk(knobs_for(**settings), module, gradients)
    for got, expected in zip(moved, by_formula(formula, start, gradients), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6, rtol=0)


def test_muon_makes_hidden_matrices_orthogonal_and_leaves_the_rest_to_adamw():
    module = small_model()
    start = [p.detach().numpy().copy() for p in module.parameters()]
    gradients = drawn_gradients(module)[:1]
    knobs = knobs_for(optimizer="muon", weight_decay=0)
    moved = walk(knobs, module, gradients)
    # Jordan 2024: five Newton-Schulz steps bring the singular values near 1; Liu et al. 2025,
    # equation 4: times 0.2 sqrt(larger side)
    scale = RATE * 0.2 * np.sqrt(5)
    values = np.linalg.svd((start[0] - moved[0]) / scale, compute_uv=False)
    assert np.all((values > 0.5) & (values < 1.5)), values
    looked_ahead = gradients[0][0] * (1 - 0.95) * (1 + 0.95)  # nesterov: g and b of one direction
    left, _, right = np.linalg.svd(looked_ahead, full_matrices=False)
    assert np.sum((start[0] - moved[0]) * (left @ right)) / scale == pytest.approx(
        np.sum(values), rel=0.02
    )
    for place in (1, 2, 3):
        expected = adam()(start[place], gradients[0][place], {}, 1)
        np.testing.assert_allclose(moved[place], expected, atol=1e-6, rtol=0)


def test_a_step_of_muon_equals_its_own_formula():
    """Jordan 2024: momentum, Nesterov, five Newton-Schulz steps (in bfloat16, as published); Liu et
    al. 2025, equation 4, for the length of the step; decay as in AdamW."""
    module, decay = small_model(), 0.3
    start = module[0].weight.detach().clone()
    gradients = drawn_gradients(module)
    moved = walk(knobs_for(optimizer="muon", weight_decay=decay), module, gradients)
    weight, mean = start, torch.zeros_like(start)
    for step in gradients:
        gradient = torch.from_numpy(step[0])
        mean = 0.95 * mean + 0.05 * gradient
        x = (0.05 * gradient + 0.95 * mean).bfloat16().T  # wide: 5 x 4 turned
        x = x / x.norm().clamp(min=1e-7)
        for _ in range(5):
            a = x @ x.T
            x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.775, alpha=2.0315), x, beta=3.4445)
        weight = weight * (1 - RATE * decay) - RATE * 0.2 * np.sqrt(5) * x.T.double()
    np.testing.assert_allclose(moved[0], weight.numpy(), atol=1e-6, rtol=0)


def test_muon_leaves_embeddings_convolutions_and_the_head_to_adamw():
    module = nn.ModuleList(
        [nn.Embedding(7, 3), nn.Conv2d(1, 2, 3), nn.Linear(4, 5), nn.Linear(5, 2)]
    )
    muon, rest = build_optimizers(knobs_for(optimizer="muon"), module)
    assert [p.shape for p in muon.param_groups[0]["params"]] == [(5, 4)]
    total = sum(len(g["params"]) for o in (muon, rest) for g in o.param_groups)
    assert total == len(list(module.parameters()))


def test_adamw_equals_torchs_adamw():
    ours, theirs = small_model(), small_model()
    gradients = drawn_gradients(ours)
    weights = [p for p in theirs.parameters() if p.ndim >= 2]
    others = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": weights, "weight_decay": 0.3}, {"params": others, "weight_decay": 0.0}]
    oracle = torch.optim.AdamW(groups, lr=RATE)
    for step in gradients:
        for parameter, gradient in zip(theirs.parameters(), step, strict=True):
            parameter.grad = torch.from_numpy(gradient).clone()
        oracle.step()
    moved = walk(knobs_for(optimizer="adamw", weight_decay=0.3), ours, gradients)
    for got, expected in zip(moved, theirs.parameters(), strict=True):
        np.testing.assert_allclose(got, expected.detach().numpy(), atol=1e-12, rtol=0)


def test_l2_is_the_gradient_of_half_the_squared_weights():
    module, l2 = small_model(), 0.7
    start = [p.detach().numpy().copy() for p in module.parameters()]
    gradients = drawn_gradients(module)[:1]
    moved = walk(knobs_for(optimizer="sgd", momentum=0, l2=l2), module, gradients)
    for got, w, g in zip(moved, start, gradients[0], strict=True):
        penalty = l2 * w if w.ndim >= 2 else 0 * w
        np.testing.assert_allclose(got, w - RATE * (g + penalty), atol=1e-12, rtol=0)


def test_proximal_l1_is_the_soft_threshold_and_reaches_zero_exactly():
    module, l1 = small_model(), 20.0
    start = [p.detach().numpy().copy() for p in module.parameters()]
    gradients = drawn_gradients(module)[:1]
    moved = walk(knobs_for(optimizer="sgd", momentum=0, l1=l1), module, gradients)
    for got, w, g in zip(moved, start, gradients[0], strict=True):
        u = w - RATE * g
        soft = np.sign(u) * np.maximum(np.abs(u) - RATE * l1, 0) if w.ndim >= 2 else u
        np.testing.assert_allclose(got, soft, atol=1e-12, rtol=0)
        np.testing.assert_array_equal(got == 0, soft == 0)
    assert 0 < np.sum(moved[0] == 0) < moved[0].size


def test_l1_as_a_penalty_adds_the_sign_and_makes_no_zeros():
    module, l1 = small_model(), 0.4
    start = [p.detach().numpy().copy() for p in module.parameters()]
    gradients = drawn_gradients(module)[:1]
    knobs = knobs_for(optimizer="sgd", momentum=0, l1=l1, l1_form="penalty")
    moved = walk(knobs, module, gradients)
    expected = start[0] - RATE * (gradients[0][0] + l1 * np.sign(start[0]))
    np.testing.assert_allclose(moved[0], expected, atol=1e-12, rtol=0)
    assert not np.any(moved[0] == 0)


def test_accumulating_batches_is_one_batch_as_large():
    inputs, target = torch.randn(12, 4).double(), torch.randn(12, 3).double()
    moved = []
    for parts in (1, 4):
        module = small_model()
        update = update_for(knobs_for(optimizer="adam"), module)
        for x, y in zip(inputs.chunk(parts), target.chunk(parts), strict=True):
            (nn.functional.mse_loss(module(x), y) / parts).backward()
        update(RATE)
        moved.append([p.detach().clone() for p in module.parameters()])
    for whole, accumulated in zip(*moved, strict=True):
        torch.testing.assert_close(whole, accumulated, atol=1e-9, rtol=0)


def test_a_frozen_layer_neither_moves_nor_decays():
    module = small_model()
    module[0].requires_grad_(False)
    before = module[0].weight.detach().clone()
    update = update_for(knobs_for(weight_decay=1.0, l1=1.0), module)
    module(torch.ones(2, 4).double()).sum().backward()
    update(0.5)
    assert torch.equal(module[0].weight, before)


def test_a_model_without_parameters_is_refused_with_the_way_out():
    with pytest.raises(ModelError, match="no parameters to train"):
        build_optimizers(knobs_for(), nn.Flatten())


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "muon"])
def test_an_optimiser_continues_from_its_state_to_the_bit(name):
    knobs = knobs_for(optimizer=name)
    whole = small_model()
    gradients = drawn_gradients(whole)
    expected = walk(knobs, whole, gradients)
    first, second = small_model(), small_model()
    optimizers = build_optimizers(knobs, first)
    update = Update(knobs, first, optimizers, build_precision(knobs, torch.device("cpu")))
    for parameter, gradient in zip(first.parameters(), gradients[0], strict=True):
        parameter.grad = torch.from_numpy(gradient).clone()
    update(RATE)
    second.load_state_dict(first.state_dict())
    resumed = build_optimizers(knobs, second)
    for old, new in zip(optimizers, resumed, strict=True):
        new.load_state_dict(old.state_dict())
    update = Update(knobs, second, resumed, build_precision(knobs, torch.device("cpu")))
    for step in gradients[1:]:
        for parameter, gradient in zip(second.parameters(), step, strict=True):
            parameter.grad = torch.from_numpy(gradient).clone()
        update(RATE)
    for got, want in zip(second.parameters(), expected, strict=True):
        np.testing.assert_array_equal(got.detach().numpy(), want)
