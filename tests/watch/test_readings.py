"""Each reading equals what a slow, plain computation finds."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainwright.model.nonlinearity import FLAT, nonlinearity
from trainwright.watch.probes.collect import Activity
from trainwright.watch.probes.layers import Layers
from trainwright.watch.probes.probe import MAX_VALUES, sample
from trainwright.watch.watcher import Watcher

# what short steps make a watcher do without
ECONOMIES = {"flight recorder", "loss of every step"}


def _watched(model, optimizer, batches, loss, *, before_step=None, **options):
    with Watcher(model, optimizer, **options) as watcher:
        for inputs, target in batches:
            optimizer.zero_grad()
            loss(model(inputs), target).backward()
            if before_step is not None:
                before_step()
            optimizer.step()
    assert set(watcher.unseen) <= ECONOMIES, dict(watcher.unseen)
    return watcher


def _batches(n, features=6, classes=3, size=16):
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(size, features, generator=generator), torch.randint(0, classes, (size,), generator=generator))
        for _ in range(n)
    ]  # fmt: skip


def _net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.Sigmoid(), nn.Linear(8, 3)
    )


def test_norms_cosines_activations_and_gradients_equal_brute_force_autograd():
    batches = _batches(3)
    model = _net()
    history = _watched(
        model, torch.optim.SGD(model.parameters(), 0.5, momentum=0.9), batches, F.cross_entropy
    ).history()

    model = _net()
    optimizer = torch.optim.SGD(model.parameters(), 0.5, momentum=0.9)
    layers = {name: model[int(name)] for name in history.layers}
    assert list(layers) == ["0", "2", "4"]
    last = None
    ever = {"0": torch.zeros(10, dtype=torch.bool)}
    for t, (inputs, target) in enumerate(batches):
        outputs, x = {}, inputs
        for number, part in enumerate(model):
            x = part(x)
            if str(number) in layers:
                outputs[str(number)] = x
                x.retain_grad()
        optimizer.zero_grad()
        loss = F.cross_entropy(x, target)
        loss.backward()
        old = {
            n: torch.cat([p.detach().reshape(-1) for p in m.parameters()])
            for n, m in layers.items()
        }
        gradients = {
            n: torch.cat([p.grad.reshape(-1) for p in m.parameters()]) for n, m in layers.items()
        }
        optimizer.step()
        updates = {
            n: torch.cat([p.detach().reshape(-1) for p in m.parameters()]) - old[n]
            for n, m in layers.items()
        }
        ever["0"] |= (outputs["0"] > 0).any(0)
        for at, n in enumerate(layers):
            expected = {
                "weight_norm": old[n].norm(), "gradient_norm": gradients[n].norm(), "update_norm": updates[n].norm(),
                "output_mean": outputs[n].mean(), "output_sd": outputs[n].std(correction=0),
                "output_gradient": outputs[n].grad.square().mean().sqrt(), "nonfinite": torch.zeros(()),
            }  # fmt: skip
            if last is not None:
                expected["gradient_cosine"] = F.cosine_similarity(gradients[n], last[0][n], dim=0)
                expected["update_cosine"] = F.cosine_similarity(updates[n], last[1][n], dim=0)
            for name, value in expected.items():
                assert history.by_layer[name][t, at] == pytest.approx(
                    float(value.detach()), rel=2e-4, abs=1e-6
                ), (name, n, t)
        assert history.by_layer["zero_share"][t, 0] == pytest.approx(
            float((outputs["0"] <= 0).float().mean()), abs=1e-6
        )
        assert history.by_layer["dead_share"][t, 0] == pytest.approx(
            float((~ever["0"]).float().mean()), abs=1e-6
        )
        assert history.by_layer["saturated_share"][t, 1] == pytest.approx(
            float((outputs["2"].abs() >= 4).float().mean()), abs=1e-6
        )
        every, moved = torch.cat(list(gradients.values())), torch.cat(list(updates.values()))
        steps = {
            "loss": loss.detach(), "gradient_norm_all": every.norm(), "learning_rate": torch.tensor(0.5), "clip_ratio": torch.ones(()),
            "update_along_gradient": -F.cosine_similarity(every, moved, dim=0),
            "output_low": x.min(), "output_high": x.max(), "output_spread": x.std(0).mean(),
            "output_entropy": torch.distributions.Categorical(logits=x).entropy().mean() / math.log(3),
            "output_margin": (x.topk(2, -1)[0][:, 0] - x.topk(2, -1)[0][:, 1]).mean(),
            "output_majority": torch.bincount(x.argmax(-1)).max() / 16,
            "batch_score": (x.argmax(-1) == target).float().mean(), "num_backwards": torch.ones(()),
        }  # fmt: skip
        for name, value in steps.items():
            assert history.by_step[name][t] == pytest.approx(
                float(value.detach()), rel=2e-4, abs=1e-6
            ), (name, t)
        last = gradients, updates
    assert "zero_share" in history.by_layer
    assert np.isnan(history.by_layer["zero_share"][:, 1:]).all()


def test_the_slope_at_each_flat_point_is_a_twentieth_or_the_round_number_that_is_said():
    for name in (
        "gelu",
        "silu",
        "mish",
        "elu",
        "selu",
        "softplus",
        "softsign",
        "logsigmoid",
        "sigmoid",
        "tanh",
    ):
        for point in FLAT[name][:2]:
            if point is None:
                continue
            x = torch.tensor(point, dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(getattr(F, name)(x), x)
            assert abs(float(slope)) == pytest.approx(0.05, abs=0.001) or (
                name in ("sigmoid", "tanh") and abs(float(slope)) < 0.07 / 2.5
            )


def test_settings_of_a_non_linearity_move_its_flat_part():
    assert nonlinearity("leaky_relu", (None, 0.2), {}).low is None
    assert nonlinearity("leaky_relu", (None,), {}).low == 0.0
    assert nonlinearity("hardtanh", (None, -2.0, 2.0), {}).high == 2.0
    assert nonlinearity("hardtanh", (None, 0.0, 6.0), {}).rectifies
    assert nonlinearity("clamp", (None,), {"min": 0}).name == "relu"
    assert nonlinearity("clamp", (None, -1, 1), {}).name == "clamp"
    assert nonlinearity("tanh_", (None,), {}).high == 2.6
    assert nonlinearity("pow", (None, 3), {}).name == "pow"
    assert nonlinearity("pow", (3, None), {}) is None  # 3 ** x
    assert nonlinearity("pow", (None,), {"exponent": 1}) is None
    assert nonlinearity("matmul", (None,), {}) is None


def test_a_clipped_gradient_is_seen_as_clipped_and_by_how_much():
    batches = _batches(3)
    model = _net()
    norms = []

    def clip():
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 0.01)))

    history = _watched(
        model, torch.optim.SGD(model.parameters(), 0.1), batches, F.cross_entropy, before_step=clip
    ).history()
    assert history.by_step["clip_ratio"] == pytest.approx([0.01 / n for n in norms], rel=1e-3)
    assert history.by_step["gradient_norm_all"] == pytest.approx([0.01] * 3, rel=1e-3)


def test_a_scaler_is_no_clipping_and_its_loss_is_the_unscaled_one():
    batches = _batches(4)
    model = _net()
    optimizer, scaler = (
        torch.optim.SGD(model.parameters(), 0.1),
        torch.amp.GradScaler("cpu", init_scale=2.0**14),
    )
    losses = []
    with Watcher(model, optimizer) as watcher:
        for inputs, target in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), target)
            losses.append(loss.item())
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    history = watcher.history()
    assert history.by_step["clip_ratio"] == pytest.approx([1] * 4, rel=1e-3)
    assert history.by_step["loss"] == pytest.approx(losses, rel=1e-4)


def test_backward_passes_of_an_accumulated_step_are_counted_and_their_losses_added():
    model = _net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watcher(model, optimizer) as watcher:
        for _ in range(3):
            optimizer.zero_grad()
            losses = [F.cross_entropy(model(x), y) / 4 for x, y in _batches(4)]
            for loss in losses:
                loss.backward()
            optimizer.step()
    history = watcher.history()
    assert list(history.by_step["num_backwards"]) == [4, 4, 4]
    assert history.by_step["loss"][-1] == pytest.approx(sum(losses).item(), rel=1e-5)


def test_a_criterion_module_gives_every_steps_loss_the_mean_over_its_calls():
    model, criterion = _net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    expected = []
    with Watcher(model, optimizer, loss=criterion, budget=1.0) as watcher:
        for _ in range(600):
            optimizer.zero_grad()
            losses = [criterion(model(x), y) for x, y in _batches(2)]
            (losses[0] + losses[1]).backward()
            optimizer.step()
            expected.append((losses[0] + losses[1]).item() / 2)
    curve = watcher.history().loss
    assert list(curve.steps) == list(range(1, 601))
    assert curve.values == pytest.approx(expected, rel=1e-5)


def test_a_unit_that_falls_silent_is_dead_after_two_generations_of_samples_and_rows():
    activity = Activity()
    shares = [
        float(activity.share_never("0", torch.tensor([float(t == 0), 0.5, 0.0]), 64.0))
        for t in range(20)
    ]
    assert shares[:8] == pytest.approx([1 / 3] * 8)
    assert shares[13:] == pytest.approx([2 / 3] * 7)
    few = Activity()
    shares = [
        float(few.share_never("0", torch.tensor([float(t == 0), 0.5, 0.0]), 2.0)) for t in range(60)
    ]
    assert shares == pytest.approx([1 / 3] * 60)  # 120 rows are too few to call it dead


@pytest.mark.parametrize(
    "make",
    [lambda: (nn.Linear(6, 4), nn.ReLU()), lambda: (nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU())],
)
def test_units_that_never_were_active_are_dead_and_through_a_norm_they_are_the_layers(make):
    torch.manual_seed(0)
    model = nn.Sequential(*make(), nn.Linear(4, 3))
    with torch.no_grad():
        model[-3].bias[:2] = -1e3
    history = _watched(
        model, torch.optim.SGD(model.parameters(), 0.01), _batches(6), F.cross_entropy
    ).history()
    assert history.by_layer["dead_share"][:, 0] == pytest.approx([0.5] * 6)
    assert history.layers[0] == "0"


class Causal(nn.Module):
    def __init__(self, by_hand):
        super().__init__()
        self.q, self.k, self.by_hand = nn.Linear(4, 4), nn.Linear(4, 4), by_hand

    def forward(self, x):
        q, k = self.q(x), self.k(x)
        if not self.by_hand:
            return F.scaled_dot_product_attention(
                q[:, None], k[:, None], x[:, None], is_causal=True
            )[:, 0]
        scores = (q @ k.transpose(1, 2)) / 2.0
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        return scores.masked_fill(~mask, -math.inf).softmax(-1) @ x


@pytest.mark.parametrize("by_hand", [True, False])
def test_attention_entropy_is_a_share_of_what_each_query_can_see(by_hand):
    torch.manual_seed(0)
    model = Causal(by_hand)
    x = torch.randn(5, 7, 4)
    history = _watched(
        model, torch.optim.SGD(model.parameters(), 0.1), [(x, torch.zeros(5, 7, 4))], F.mse_loss
    ).history()
    torch.manual_seed(0)
    fresh = Causal(by_hand)
    scores = (fresh.q(x) @ fresh.k(x).transpose(1, 2) / 2).detach()
    shares = []
    for row in range(1, 7):
        weights = scores[:, row, : row + 1].softmax(-1)
        shares.append(-(weights * weights.log()).sum(-1) / math.log(row + 1))
    assert history.by_layer["attention_entropy"][0, 0] == pytest.approx(
        float(torch.stack(shares).mean()), rel=1e-4
    )


def test_torchs_multi_head_attention_gives_the_entropy_of_its_own_weights():
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(4, 6, 8)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            return self.attention(x, x, x)[0]

    with torch.no_grad():
        weights = attention(x, x, x, average_attn_weights=False)[1]
    expected = float((-(weights * weights.log()).sum(-1) / math.log(6)).mean())
    model = Net()
    history = _watched(
        model, torch.optim.SGD(model.parameters(), 0.1), [(x, torch.zeros_like(x))], F.mse_loss
    ).history()
    assert history.by_layer["attention_entropy"][0, 0] == pytest.approx(expected, rel=1e-4)


def test_norm_drift_is_the_distance_of_running_and_batch_means_in_sd():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    batches = _batches(1)
    hidden = model[0](batches[0][0]).detach()
    history = _watched(
        model, torch.optim.SGD(model.parameters(), 0.1), batches, F.cross_entropy
    ).history()
    expected = float((hidden.mean(0).abs() / hidden.std(0, correction=0)).mean())
    assert history.by_layer["norm_drift"][0, 1] == pytest.approx(expected, rel=1e-3)


def test_values_that_are_not_finite_are_counted_where_they_are():
    model = _net()
    batches = _batches(2)
    batches[1][0][3, 2] = math.nan
    watcher = _watched(model, torch.optim.SGD(model.parameters(), 0.1), batches, F.cross_entropy)
    history = watcher.history()
    assert list(history.by_layer["nonfinite"][0]) == [0, 0, 0]
    assert history.by_layer["nonfinite"][1, 0] == 10 + 2  # one row of outputs, two gradients
    assert history.first_nonfinite == 2


@pytest.mark.parametrize(
    ("loss", "target", "expected"),
    [
        (F.mse_loss, lambda out: out * 0 + torch.randn(out.shape), lambda o, t: 1 - (o - t).square().mean() / (t - t.mean(0)).square().mean()),
        (F.binary_cross_entropy_with_logits, lambda out: (torch.randn(out.shape) > 0).float(), lambda o, t: ((o > 0) == (t > 0.5)).float().mean()),
        (F.soft_margin_loss, lambda out: torch.randn(out.shape).sign(), lambda o, t: ((o > 0) == (t > 0)).float().mean()),
    ],
)  # fmt: skip
def test_the_batch_score_is_the_share_that_is_right_or_the_share_explained(loss, target, expected):
    torch.manual_seed(0)
    model = nn.Linear(6, 1)
    x = torch.randn(20, 6)
    out = model(x).detach()
    torch.manual_seed(5)
    wanted = target(out)
    history = _watched(
        model, torch.optim.SGD(model.parameters(), 0.1), [(x, wanted)], loss
    ).history()
    assert history.by_step["batch_score"][0] == pytest.approx(
        float(expected(out, wanted)), abs=1e-5
    )


def test_a_large_activation_is_thinned_and_keeps_all_its_units():
    image = torch.randn(64, 32, 28, 28)
    thinned = sample(image, 1)
    assert thinned.shape[1] == 32
    assert thinned.numel() <= 2 * MAX_VALUES
    assert thinned.shape[0] >= 8
    assert sample(torch.randn(4096, 512), -1).shape[1] == 512


def test_layers_are_named_by_their_weights_and_bare_parameters_by_themselves():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.W, self.V, self.b = (nn.Parameter(torch.ones(s)) for s in ((6, 4), (4, 3), (3,)))
            self.block = nn.Sequential(nn.Linear(3, 3))

        def forward(self, x):
            return self.block(torch.tanh(x @ self.W) @ self.V + self.b)

    model = Bare()
    history = _watched(
        model, torch.optim.SGD(model.parameters(), 0.1), _batches(2), F.cross_entropy
    ).history()
    assert history.layers[:3] == ("W", "V", "block.0")
    assert np.isfinite(history.by_layer["output_sd"][:, :3]).all()
    assert np.isfinite(history.by_layer["saturated_share"][:, 0]).all()
    assert Layers([nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))]).name_of(torch.ones(1)) is None
