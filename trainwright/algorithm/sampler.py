"""Which examples does an epoch visit, and in which order? A pure function of seed and epoch, so
that a run can be entered at any point."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64, Shaped
from torch import Tensor

from trainwright.algorithm.knobs import AlgorithmKnobs
from trainwright.core.errors import Problem, RecipeError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.seeds import derive


@dataclass(slots=True, kw_only=True)
class Uniform:
    """Every example once an epoch, shuffled."""

    uniform: ClassVar[bool] = True  # a stream may shuffle by itself, without the positions

    seed: int
    num: int

    def epoch(self, number: int) -> Int64[Tensor, " {self.num}"]:
        """A permutation."""
        return torch.randperm(self.num, generator=_generator(self.seed, number))


@dataclass(slots=True, kw_only=True)
class Weighted:
    """As many draws with replacement an epoch as there are examples; `cumulated` are running sums
    of their weights."""

    seed: int
    cumulated: Float64[Tensor, " example"]

    def epoch(self, number: int) -> Int64[Tensor, " example"]:
        """Example i is drawn with probability weight_i / sum of weights."""
        generator = _generator(self.seed, number)
        drawn = torch.rand(len(self.cumulated), generator=generator, dtype=torch.float64)
        # right=True passes over examples of weight 0; a draw below 1 stays below the sum
        return torch.searchsorted(self.cumulated, drawn * self.cumulated[-1], right=True)


def build_order(
    knobs: AlgorithmKnobs,
    targets: Shaped[Tensor, "{num} ..."] | None,
    num: int,
    seed: int,
    *,
    classes: Sequence[str] = (),
) -> Uniform | Weighted:
    """The order of visits to `num` training examples.

    `targets` are needed by balanced and weighted, as whole numbers. `classes`: class names in
    order of index.
    Raises RecipeError when the sampler does not fit the data.
    """
    if knobs.sampler == "uniform":
        return Uniform(seed=seed, num=num)
    per_example = _by_class(knobs, targets, classes)
    assert per_example.shape == (num,), (per_example.shape, num)
    if not bool((per_example >= 0).all()) or not 0 < float(per_example.sum()) < float("inf"):
        raise _wrong(
            phrase("the weights leave no example to draw"),
            do=phrase("give a positive weight to some"),
        )
    return Weighted(seed=seed, cumulated=per_example.cumsum(0))


def _by_class(
    knobs: AlgorithmKnobs, targets: Shaped[Tensor, "example ..."] | None, classes: Sequence[str]
) -> Float64[Tensor, " example"]:
    if targets is None or targets.ndim != 1 or targets.is_floating_point():
        raise _wrong(
            phrase("the {sampler} sampler needs one class for each example", sampler=knobs.sampler),
            do=phrase("choose sampler = 'uniform'"),
        )
    targets = targets.cpu()
    if knobs.sampler == "balanced":
        return 1 / torch.bincount(targets).double()[targets]
    if not knobs.sampler_weights:
        raise _wrong(
            phrase("the weighted sampler has no weights"),
            do=phrase("set sampler_weights, or sampler = 'balanced'"),
        )
    for name in knobs.sampler_weights:
        if name not in classes:
            raise _wrong(
                phrase("there is no class {name}", name=shown(name)),
                do=did_you_mean(name, classes),
            )
    table = torch.tensor([knobs.sampler_weights.get(name, 1.0) for name in classes])
    return table.double()[targets]


def _wrong(what: str, *, do: str) -> RecipeError:
    problem = Problem(
        path="algorithm.sampler",
        what=what,
        allowed=phrase("uniform; weighted and balanced for classes"),
        do=do,
    )
    return RecipeError([problem])


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "order", epoch))
