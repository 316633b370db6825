"""Does the range test find the rate that a full sweep finds? Ten tasks: 13 rates x 2 seeds trained to
the end, against short trainings; and is everything as it was afterwards, to the bit?

python benchmarks/rate_range.py [--quick] [--only NAME]
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine
from torch import Tensor, nn

from trainwright import api
from trainwright.check.sample import Sample
from trainwright.edit.from_recipe import program_of
from trainwright.edit.given import program_from
from trainwright.edit.loop import eval_loss, train
from trainwright.edit.program import Program
from trainwright.exam.rate import advise, range_test

RATES, SEEDS = 13, 2
HALF_DECADE = math.sqrt(10)
CENTRE = 1e-2  # of the sweep: 1e-5 to 10
NEAR = 3.0
FRESH = 2  # seed of the range test: none of the sweep's


class Convnet(nn.Module):
    """Two convolutions over 8 x 8 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 64] -> [batch, 10]"""
        return self.layers(x.reshape(-1, 1, 8, 8))


class Recurrent(nn.Module):
    """Which of two marks came last in a sequence of noise?"""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cell = kind(1, 16, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, time, 1] -> [batch, 2]"""
        return self.head(self.cell(x)[0][:, -1])


class Bag(nn.Module):
    """Mean of word vectors, and a line."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.EmbeddingBag(200, 16, mode="mean"), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, length] of word numbers -> [batch, 2]"""
        return self.head(self.words(x))


def digits(count: int = 800) -> tuple[Tensor, Tensor]:
    """[example, 64] in 0..1, [example]"""
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x[:count] / 16, dtype=torch.float32), torch.tensor(y[:count])


def wine() -> tuple[Tensor, Tensor]:
    """Standardised."""
    x, y = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def waves() -> tuple[Tensor, Tensor]:
    """y = sin(3 x1) x2 + noise of sd 0.1"""
    own = torch.Generator().manual_seed(0)
    x = torch.rand(400, 2, generator=own) * 2 - 1
    y = torch.sin(3 * x[:, :1]) * x[:, 1:] + 0.1 * torch.randn(400, 1, generator=own)
    return x, y


def marks() -> tuple[Tensor, Tensor]:
    """Sequences of 12 numbers; the class is the sign of the last large one."""
    own = torch.Generator().manual_seed(0)
    x = 0.2 * torch.randn(400, 12, generator=own)
    places = torch.rand(400, 12, generator=own).argsort(1)[:, :2]
    signs = torch.randint(0, 2, (400, 2), generator=own)
    x.scatter_(1, places, 2.0 * signs.float() - 1.0)
    return x.unsqueeze(-1), signs.gather(1, places.argmax(1, keepdim=True)).reshape(-1)


def words() -> tuple[Tensor, Tensor]:
    """Texts of 20 words of 200; ten words speak for each class."""
    own = torch.Generator().manual_seed(0)
    x = torch.randint(20, 200, (500, 20), generator=own)
    y = torch.randint(0, 2, (500,), generator=own)
    x[:, :2] = torch.randint(0, 10, (500, 2), generator=own) + 10 * y[:, None]
    return x, y


def mlp(inputs: int, outputs: int, *, depth: int = 2, act: type[nn.Module] = nn.ReLU) -> Any:
    """A function that makes a network of 32 units a layer."""

    def make() -> nn.Module:
        layers: list[nn.Module] = [nn.Linear(inputs, 32), act()]
        for _ in range(depth - 1):
            layers += [nn.Linear(32, 32), act()]
        return nn.Sequential(*layers, nn.Linear(32, outputs))

    return make


def sgd(rate: float, momentum: float = 0.0) -> Any:
    return lambda p: torch.optim.SGD(p, lr=rate, momentum=momentum)


def adam(rate: float) -> Any:
    return lambda p: torch.optim.Adam(p, lr=rate)


def table_recipe(epochs: int) -> Program:
    return program_of(api.make_recipe("sklearn:breast_cancer", budget=f"{epochs} epochs"))


@dataclass(frozen=True, kw_only=True)
class Task:
    """A program at a rate that is off by up to a hundred times."""

    name: str
    make: Callable[[int], Program]


def own(name: str, net: Any, data: Any, loss: nn.Module, optimizer: Any) -> Task:
    return Task(name=name, make=lambda epochs: program_from(
        net, data, loss=loss, optimizer=optimizer, epochs=epochs))  # fmt: skip


def tasks() -> list[Task]:
    """Rates to begin from are spread: too low, right, too high."""
    classes, numbers = nn.CrossEntropyLoss(), nn.MSELoss()
    return [
        own("mlp digits, adam", mlp(64, 10), digits(), classes, adam(1e-3)),
        own("mlp wine, sgd", mlp(13, 3), wine(), classes, sgd(1e-3)),
        own("mlp regression, adam", mlp(2, 1), waves(), numbers, adam(0.1)),
        own("convnet digits, adam", Convnet, digits(), classes, adam(1e-4)),
        own("deep tanh mlp digits, sgd", mlp(64, 10, depth=6, act=nn.Tanh), digits(), classes,
            sgd(1.0)),
        own("gru marks, adam", lambda: Recurrent(nn.GRU), marks(), classes, adam(1e-4)),
        own("lstm marks, adam", lambda: Recurrent(nn.LSTM), marks(), classes, adam(1e-3)),
        Task(name="table recipe, adamw", make=table_recipe),
        own("bag of words, adam", Bag, words(), classes, adam(1e-3)),
        own("mlp digits, sgd momentum", mlp(64, 10), digits(), classes, sgd(1e-3, 0.9)),
    ]  # fmt: skip


def sweep(program: Program) -> tuple[list[float], list[float]]:
    """(rates, final held-out loss, mean of the seeds) of whole trainings, half a decade apart."""
    rates = [CENTRE * HALF_DECADE ** (k - RATES // 2) for k in range(RATES)]
    losses = []
    for rate in rates:
        plan = program.optimizer.times(rate / program.optimizer.learning_rate)
        found = [final_loss(replace(program, optimizer=plan), seed) for seed in range(SEEDS)]
        losses.append(float(np.mean(found)))
    return rates, losses


def final_loss(program: Program, seed: int) -> float:
    done = train(program, seed)
    held: Sample = program.valid or program.train
    loss = eval_loss(program, done.model, held, rows=10_000)
    return loss if done.state == "finished" and math.isfinite(loss) else math.inf


def as_it_was(program: Program) -> bool:
    """Weights, buffers and random states before and after a range test are equal to the bit."""
    model, _ = program.start(0)
    kept, states = copy.deepcopy(model.state_dict()), (torch.get_rng_state(), np.random.get_state())
    range_test(program, steps=20)
    again, _ = program.start(0)
    same = all(torch.equal(kept[k], v) for k, v in model.state_dict().items())
    same &= all(torch.equal(kept[k], v) for k, v in again.state_dict().items())
    same &= torch.equal(states[0], torch.get_rng_state())
    return bool(same and (states[1][1] == np.random.get_state()[1]).all())


def measured(task: Task, epochs: int, seconds: float) -> dict[str, Any]:
    program = task.make(epochs)
    began = time.perf_counter()
    rates, losses = sweep(program)
    took = time.perf_counter() - began
    best = rates[int(np.argmin(losses))]
    found = range_test(program, seconds=seconds, seed=FRESH)
    advice = advise(program, seconds=seconds, seed=FRESH)
    lowest = found.rates[int(np.argmin(found.losses))]
    return {
        "task": task.name, "own": program.optimizer.learning_rate, "steps": program.num_steps,
        "sweep_best": best, "sweep_seconds": took, "test_best": found.best,
        "lowest_within": within(lowest, best), "test_steps": found.steps, "test_seconds": found.seconds, "probes": len(found.rates),
        "within": within(found.best, best), "advised": advice.rate,
        "advised_within": within(advice.rate, best), "advice_seconds": advice.seconds,
        "loss_ratio": loss_at(rates, losses, found.best) / max(1e-12, min(losses)),
        "restored": as_it_was(program),
    }  # fmt: skip


def within(rate: float, best: float) -> bool:
    return abs(math.log(rate / best)) <= math.log(NEAR)


def loss_at(rates: list[float], losses: list[float], rate: float) -> float:
    """Of the sweep's rate that is nearest."""
    return losses[int(np.argmin(np.abs(np.log(np.array(rates) / rate))))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="8 epochs instead of 20")
    parser.add_argument("--only", default="", help="part of a task's name")
    parser.add_argument("--seconds", type=float, default=6.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for task in tasks():
        if given.only in task.name:
            rows.append(measured(task, 8 if given.quick else 20, given.seconds))
            print(json.dumps({k: float(f"{v:.3g}") if isinstance(v, float) else v
                              for k, v in rows[-1].items()}), flush=True)  # fmt: skip
    for key in ("within", "lowest_within", "advised_within", "restored"):
        print(f"{key}: {sum(row[key] for row in rows)} of {len(rows)}")


if __name__ == "__main__":
    main()
