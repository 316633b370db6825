"""Norms and orthogonal starts are really there, run in training, and are as their formulas say."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.edit.programs import changed, classes, net, program, refusal, turned
from trainwright.edit.loop import train
from trainwright.edit.program import Program
from trainwright.recipe import Recipe, edit

RESOLVED = {"model": {"name": "convnet", "norm": "batch", "init": "auto"}}


def convolution() -> nn.Sequential:
    """[example, 1, 6] -> [example, 3]"""
    return nn.Sequential(nn.Conv1d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))


def series() -> Program:
    """The clouds, each example a channel of six positions."""
    X, y = classes()
    return program(convolution, data=(X[:, None], y))


class Reader(nn.Module):
    """[example, time, 1] -> [example, 3]"""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.last = nn.RNN(1, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.reads(x)[0][:, -1])


def recurrent() -> Program:
    """The clouds, each example a sequence of six steps."""
    X, y = classes()
    return program(Reader, data=(X[..., None], y))


def given_by(kind: type[nn.Module], of: Program) -> list[Tensor]:
    """What each norm of this kind gives in one forward of the program's network."""
    model, _ = of.start(0)
    held: list[Tensor] = []

    def hold(_module: nn.Module, _inputs: Any, output: Any) -> None:
        held.append(output)

    for module in model.modules():
        if isinstance(module, kind):
            module.register_forward_hook(hold)
    with torch.no_grad():
        of.few().call(model)
    return held


@pytest.mark.parametrize(
    ("name", "kind", "make", "axes"),
    [
        ("layer_norm", nn.LayerNorm, program, (-1,)),
        ("layer_norm", nn.LayerNorm, recurrent, (-1,)),
        ("layer_norm", nn.GroupNorm, series, (1, 2)),
        ("instance_norm", nn.InstanceNorm1d, series, (2,)),
        ("rms_norm", nn.RMSNorm, program, (-1,)),
        ("rms_norm", nn.RMSNorm, recurrent, (-1,)),
        ("rms_norm", nn.RMSNorm, series, (-1,)),
    ],
)
def test_the_norm_that_is_named_runs_over_its_own_axes_and_learns(
    name: str, kind: type[nn.Module], make: Any, axes: tuple[int, ...]
) -> None:
    given = make()
    after = changed(name, given)
    assert given_by(kind, given) == []
    (found,) = given_by(kind, after)
    size = found.square().mean(axes)
    alive = size > 0.05  # where all is nearly equal, eps is what is left
    assert alive.float().mean() > 0.8
    assert torch.allclose(size[alive], torch.ones(()), atol=0.05)
    if name != "rms_norm":
        assert torch.allclose(found.mean(axes), torch.zeros(()), atol=1e-4)
    first, again = train(after, 0), train(after, 0)
    assert (first.losses == again.losses).all()
    assert first.losses[-1] < first.losses[0]
    scale = next(m for m in first.model.modules() if isinstance(m, kind)).get_parameter("weight")
    assert not torch.equal(scale, torch.ones_like(scale))
    reason = "it is so already" if name == "layer_norm" else "no hidden layer is left"
    assert reason in refusal(name, after).what


def test_layer_norm_takes_the_place_of_batch_norm_with_its_parameters() -> None:
    def normed() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))

    given = program(normed)
    after = changed("layer_norm", given)
    (was, _), (now, _) = given.start(0), after.start(0)
    assert list(was.state_dict()) == list(now.state_dict())
    x = given.few().inputs[0]
    with torch.no_grad():
        alone = now(x[:1])
        assert torch.allclose(now(x)[:1], alone, atol=1e-6)
        hidden = nn.functional.layer_norm(was[0](x[:1]), (16,))  # pyright: ignore[reportIndexIssue]
        assert torch.allclose(alone, was[3](torch.relu(hidden)), atol=1e-5)  # pyright: ignore[reportIndexIssue]


def test_a_norm_that_nothing_can_take_is_refused_with_the_reason() -> None:
    assert "none can take this one" in refusal("instance_norm", program()).what
    for name in ("instance_norm", "layer_norm", "rms_norm"):
        assert "no hidden layer is left" in refusal(name, program(lambda: nn.Linear(6, 3))).what


def test_weights_start_orthogonal_times_the_gain_and_another_seed_starts_elsewhere() -> None:
    def alike() -> nn.Module:
        model = net()
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.3)
        return model

    after = changed("reinitialise_orthogonal", program(alike))
    start = after.start(0)[0].state_dict()
    first, last = start["0.weight"], start["2.weight"]
    assert torch.allclose(first.T @ first, 2 * torch.eye(6), atol=1e-5)  # the gain of ReLU, squared
    assert torch.allclose(last @ last.T, torch.eye(3), atol=1e-5)
    assert not start["0.bias"].any()
    assert not start["2.bias"].any()
    for seed, same in ((0, True), (1, False)):
        again = after.start(seed)[0].state_dict()["0.weight"]
        assert torch.equal(again, first) is same
    score = train(after, 0).score
    assert score is not None
    assert score > 0.8
    assert "it is so already" in refusal("reinitialise_orthogonal", after).what


def test_what_a_recurrent_layer_keeps_of_its_state_starts_orthogonal() -> None:
    model, _ = changed("reinitialise_orthogonal", recurrent()).start(0)
    kept = model.get_parameter("reads.weight_hh_l0").detach()
    assert torch.allclose(kept @ kept.T, torch.eye(8), atol=1e-5)


# --- recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "knobs"),
    [
        ("layer_norm", {}, {"model.norm": "layer"}),
        ("layer_norm", {"model.norm": "batch"}, {"model.norm": "layer"}),
        ("rms_norm", {"model.name": "mlp"}, {"model.norm": "rms"}),
        ("instance_norm", {"model.name": "convnet"}, {"model.norm": "instance"}),
        ("reinitialise_orthogonal", {"model.init": "normal", "model.init_sd": 1.0},
         {"model.init": "orthogonal", "model.init_sd": 0.01}),
    ],
)  # fmt: skip
def test_a_recipe_gets_these_knobs(name: str, settings: Any, knobs: Any) -> None:
    assert turned(name, settings) == knobs


def test_a_recipe_without_positions_or_without_a_place_gets_no_such_norm() -> None:
    assert turned("instance_norm", {}, resolved=RESOLVED) == {"model.norm": "instance"}
    assert "what `auto` meant" in refusal("instance_norm", Recipe()).what
    for name, network, reason in (
        ("instance_norm", "mlp", "one number a unit"), ("layer_norm", "rnn", "no place"),
        ("rms_norm", "linear", "no place"),
    ):  # fmt: skip
        assert reason in refusal(name, edit(Recipe(), {"model.name": network})).what


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("layer_norm", {"model.norm": "layer"}),
        ("rms_norm", {"model.norm": "rms"}),
        ("reinitialise_orthogonal", {"model.init": "orthogonal"}),
    ],
)
def test_a_recipe_that_has_it_already_is_left_alone(name: str, settings: Any) -> None:
    assert "it is so already" in refusal(name, edit(Recipe(), settings)).what
