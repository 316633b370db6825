"""Looking at predictions leaves the network and the dice as they were."""

import numpy as np
import pytest
import torch
from torch import nn

from trainwright.core.task import Task
from trainwright.evaluate.predict import predict
from trainwright.loss.build import build_objective
from trainwright.loss.knobs import LossKnobs

TASK = Task(kind="multiclass", classes=("a", "b", "c"))


class Restless(nn.Module):
    """A user's module that misbehaves: it draws and counts even in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.head = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("renewed", torch.zeros(1))

    def forward(self, inputs):
        self.calls += 1
        self.renewed = self.renewed + torch.rand(1)
        return {"logits": self.head(self.inner(inputs))}


@pytest.fixture
def objective():
    return build_objective(
        LossKnobs(name="cross_entropy"), TASK, class_counts=None, custom=None, num_outputs=3
    )


@pytest.fixture
def examples(make_examples):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(25, 4, generator=generator)
    return make_examples([inputs], torch.randint(0, 3, (25,), generator=generator), TASK)


def test_predictions_equal_the_plain_forward_pass(examples, objective):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    module.eval()
    with torch.no_grad():
        outputs = module(examples.inputs[0])
    module.train()
    seen = predict(module, objective, examples, batch_size=7)
    assert np.allclose(seen.predictions, outputs.softmax(dim=1).numpy(), atol=1e-6)
    oracle = nn.functional.cross_entropy(outputs, examples.target, reduction="none")
    assert np.allclose(seen.losses, oracle.numpy(), atol=1e-6)
    assert np.array_equal(seen.targets, examples.target.numpy())


def test_modes_buffers_and_random_state_are_as_before(examples, objective):
    torch.manual_seed(3)
    module = Restless()
    module.inner[1].eval()  # a norm that the user froze
    before = {name: value.clone() for name, value in module.state_dict().items()}
    dice = torch.get_rng_state()
    predict(module, objective, examples, batch_size=10)
    assert torch.equal(torch.get_rng_state(), dice)
    assert module.training
    assert module.inner[2].training
    assert not module.inner[1].training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_training_goes_on_after_a_look(examples, objective):
    module = Restless()
    predict(module, objective, examples, batch_size=10)
    module(examples.inputs[0])["logits"].sum().backward()
    assert module.head.weight.grad is not None


def test_state_is_restored_when_the_forward_pass_fails(examples, objective):
    class Failing(Restless):
        def forward(self, inputs):
            super().forward(inputs)
            raise ValueError("the user's own bug")

    module = Failing()
    with pytest.raises(ValueError, match="own bug"):
        predict(module, objective, examples, batch_size=10)
    assert module.training
    assert module.calls == 0


def test_only_the_first_examples_are_read_when_so_asked(examples, objective):
    seen = predict(Restless(), objective, examples, batch_size=10, most=12)
    assert [len(part) for part in (seen.predictions, seen.targets, seen.losses)] == [12, 12, 12]


def test_lower_precision_of_the_forward_pass_stays_near(examples, objective):
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    full = predict(module, objective, examples, batch_size=25)
    half = predict(module, objective, examples, batch_size=25, precision=torch.bfloat16)
    assert half.predictions.dtype == np.float32
    assert 0 < np.abs(full.predictions - half.predictions).max() < 0.05
