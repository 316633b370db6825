"""How does a claim train? Recipes from their settings, run to the end in memory, or made ready so
that the steps of our own loop can be taken one at a time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from trainwright import recipe as recipes
from trainwright.core.records import RunRecord
from trainwright.core.stats import Interval
from trainwright.recipe import Live, Recipe
from trainwright.remedy.proof import t_interval
from trainwright.run.assemble import Assembly, assemble
from trainwright.run.begin import run_in_memory
from trainwright.run.surroundings import own_randomness
from trainwright.store.contract import Reading

# The lecture's own rule, theta <- theta - rate * gradient, with nothing beside it.
PLAIN_DESCENT: Mapping[str, Any] = {
    "algorithm.optimizer": "sgd",
    "algorithm.momentum": 0.0,
    "algorithm.weight_decay": 0.0,
    "algorithm.schedule": "constant",
    "algorithm.warmup_steps": 0,
    "algorithm.precision": "float32",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A run that is over: its record (`state` failed where the loss left the numbers), what was
    read of it on the way, and the network in eval mode with the weights kept."""

    record: RunRecord
    readings: Sequence[Reading]
    module: nn.Module

    def metric(self, name: str, split: str = "test") -> float:
        """Of the weights kept, on the split; NaN where the run failed before it was judged."""
        found = self.record.metrics.get(split, {}).get(name)
        return math.nan if found is None else found.value

    def course(self, kind: str, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(steps, values) of what was read of the split `kind` ("train", "valid")."""
        rows = [(float(r.step), float(r.values[name])) for r in self.readings
                if r.kind == kind and name in r.values]  # fmt: skip
        return tuple(step for step, _ in rows), tuple(value for _, value in rows)


def recipe_of(
    settings: Mapping[str, Any], seed: int, *, baselines: bool = False, live: Live | None = None
) -> Recipe:
    """The default recipe with `settings`, dotted paths, turned."""
    turned = {"baselines": baselines, "seed": seed, **settings}
    made = recipes.edit(Recipe(), turned)
    return made if live is None else made.model_copy(update={"live": live})


def trained(recipe: Recipe) -> Trained:
    """Trains in memory, unwatched."""
    execution = run_in_memory(recipe, command="lecture")
    record, store = execution.record, execution.store
    assert execution.assembly is not None, record.state
    return Trained(record=record, readings=store.readings(record.id)[0],
                   module=execution.assembly.module)  # fmt: skip


def digit_images() -> Live:
    """scikit-learn's 1797 digits as pictures [example, 1, 8, 8] with their classes."""
    from sklearn.datasets import load_digits

    pixels, digit = load_digits(return_X_y=True)
    return Live(source=pixels.reshape(-1, 1, 8, 8).astype(np.float32), target=digit)


@contextmanager
def ready(recipe: Recipe) -> Iterator[Assembly]:
    """The recipe made ready to train, on random streams of its own; files are closed behind it."""
    with own_randomness(recipe.seed):
        assembly = assemble(recipe)
        try:
            yield assembly
        finally:
            assembly.prepared.close()


def mean_interval(values: Sequence[float], *, resolution: float = 0.0) -> Interval:
    """Student's 95 % interval of the mean; see `remedy.proof.t_interval`."""
    return t_interval(np.asarray(values, dtype=float), level=0.95, resolution=resolution)


def factor_interval(factors: Sequence[float]) -> tuple[float, Interval]:
    """Geometric mean of factors above 0, and the interval of it."""
    logs = np.log(np.asarray(factors, dtype=float))
    low, high = mean_interval(logs.tolist())
    return float(np.exp(logs.mean())), (float(np.exp(low)), float(np.exp(high)))
