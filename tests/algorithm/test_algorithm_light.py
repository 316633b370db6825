"""torch's compiler sleeps while we train, and works when someone wakes it."""

import subprocess
import sys

import pytest

from trainwright.algorithm.knobs import OPTIMIZERS, AlgorithmKnobs
from trainwright.algorithm.resolve import resolve

TRAIN = """
import sys
import torch
from torch import nn
from trainwright.algorithm.knobs import OPTIMIZERS, AlgorithmKnobs
from trainwright.algorithm.average import build_average
from trainwright.algorithm.optimizer import build_optimizers
from trainwright.algorithm.precision import build_precision
from trainwright.algorithm.resolve import resolve
from trainwright.algorithm.update import Update

def train(name, precision_name="float32"):
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 5),
                           nn.Linear(5, 2))
    knobs = resolve(AlgorithmKnobs(optimizer=name, clip_norm=1, clip_value=1, l1=.1, l2=.1,
                    average="ema", precision=precision_name), num_train=100)
    optimizers = build_optimizers(knobs, module)
    precision = build_precision(knobs, torch.device("cpu"))
    average = build_average(knobs, module)
    update = Update(knobs, module, optimizers, precision)
    for _ in range(2):
        with precision.autocast():
            loss = nn.functional.cross_entropy(module(torch.randn(8, 4)), torch.arange(8) % 2)
        precision.backward(loss)
        update(0.01)
        average.update()
    for optimizer in optimizers:
        optimizer.zero_grad()
        optimizer.load_state_dict(optimizer.state_dict())
    return module, optimizers

for name in OPTIMIZERS:
    for precision_name in ("float32", "bfloat16", "float16"):
        train(name, precision_name)
        assert "torch._dynamo" not in sys.modules, (name, precision_name)
        assert "sympy" not in sys.modules, (name, precision_name)
"""

COMPILE = """
import warnings
warnings.simplefilter("ignore")
module, (optimizer,) = train("adamw")

def step(x):
    loss = module(x).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss

compiled = torch.compile(step, backend="eager")
x = torch.randn(8, 4)
losses = [float(compiled(x)) for _ in range(5)]
assert "torch._dynamo" in sys.modules
assert losses[-1] < losses[0], losses
optimizer.load_state_dict(optimizer.state_dict())
torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=.1).zero_grad()
plain = torch.optim.Optimizer.state_dict.__wrapped__
assert getattr(plain, "__dynamo_disable").__module__ != "trainwright.algorithm.optimizer"
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_no_optimiser_wakes_torchs_compiler():
    run(TRAIN)


@pytest.mark.slow
def test_a_step_compiles_after_all_that():
    run(TRAIN + COMPILE)


def test_the_knobs_come_without_torch():
    run(
        "import sys, trainwright.algorithm.knobs, trainwright.algorithm.resolve\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("num", [1, 700, 10**7])
def test_resolved_knobs_are_numbers_within_their_bounds(name, num):
    knobs = resolve(AlgorithmKnobs(optimizer=name), num_train=num)
    assert AlgorithmKnobs.model_validate(knobs.model_dump()) == knobs
    assert isinstance(knobs.learning_rate, float)
    assert isinstance(knobs.batch_size, int)
    assert 16 <= knobs.batch_size <= 256
    assert resolve(knobs, num_train=1) == knobs


def test_the_network_for_tables_has_a_rate_and_a_memory_of_its_own():
    resolved = resolve(AlgorithmKnobs(), num_train=5000, network="table")
    assert (resolved.learning_rate, resolved.beta2) == (3e-3, 0.95)
    images = resolve(AlgorithmKnobs(), num_train=5000, network="image")
    assert (images.learning_rate, images.beta2) == (1e-2, 0.999)
    asked = resolve(AlgorithmKnobs(learning_rate=0.1, beta2=0.9), num_train=5000, network="table")
    assert (asked.learning_rate, asked.beta2) == (0.1, 0.9)


def test_what_was_set_is_never_resolved_away():
    knobs = AlgorithmKnobs(learning_rate=0.5, batch_size=7, weight_decay=0.0, momentum=0.3)
    resolved = resolve(knobs, num_train=5000)
    assert (resolved.learning_rate, resolved.batch_size) == (0.5, 7)
    assert (resolved.weight_decay, resolved.momentum) == (0.0, 0.3)


def test_quick_numbers_are_for_our_own_network_on_images_only():
    for network, expected in (("image", "bfloat16"), ("table", "float32"), (None, "float32")):
        resolved = resolve(
            AlgorithmKnobs(), num_train=500, network=network, quick_precision="bfloat16"
        )
        assert resolved.precision == expected
    asked = AlgorithmKnobs(precision="float32")
    resolved = resolve(asked, num_train=500, network="image", quick_precision="bfloat16")
    assert resolved.precision == "float32"
