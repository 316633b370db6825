"""How large are weights, gradients and updates, and which way do they point? Norms and products of
one optimiser's parameters around its step, as lists of tensors."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import UninitializedParameter
from torch.optim import Optimizer

from trainwright.watch.probes.collect import Collector
from trainwright.watch.probes.layers import Layers

Fetched = Mapping[str, Sequence[tuple[int, float]]]
KEPT_BYTES = 64_000_000  # copies below this stay allocated between samples [assumed]


class Slot:
    """One optimiser's parameters that belong to the watched models, and their last sample.

    Gradients are as the optimiser got them, updates true differences. All goes to the collector
    by layer: squares are of single parameters' norms, products of single parameters.
    """

    def __init__(self, optimizer: Optimizer | None, parameters: Sequence[Tensor]) -> None:
        self.optimizer = optimizer
        self.parameters = list(parameters)
        self.late = False  # gradients come within the step (closures)
        self._places: list[int] = []
        self._old: list[Tensor] = []
        self._given: list[int] = []  # parameters that have a gradient now
        self._gradients: list[Tensor] = []
        self._held: list[Tensor | None] = []  # gradients of a step by hand
        self._last: tuple[int, list[int], list[Tensor], list[Tensor]] | None = None

    def keep_weights(self) -> None:
        """Copies the weights as they are before the step."""
        with torch.no_grad():
            if len(self._old) != len(self.parameters):
                self._old = [p.detach().clone() for p in self.parameters]
            elif self._old:
                torch._foreach_copy_(self._old, self.parameters)  # pyright: ignore[reportPrivateImportUsage]

    def has_moved(self) -> bool:
        """Whether a weight is another than when they were kept."""
        with torch.no_grad():
            pairs = zip(self.parameters, self._old, strict=True)
            return any(not torch.equal(now, old) for now, old in pairs)

    def hold_gradients(self, gradients: Mapping[int, Tensor] | None = None) -> None:
        """Copies what a backward pass has left in `.grad`, or `gradients` by id of the parameter:
        a step by hand may clear them before it is over."""
        with torch.no_grad():
            found = [p.grad if gradients is None else gradients.get(id(p)) for p in self.parameters]
            self._held = [None if g is None else _dense(g).clone() for g in found]

    def keep_gradients(self, collector: Collector, layers: Layers) -> None:
        """Notes the gradients that the optimiser gets, and puts their norms."""
        if len(self._places) != len(self.parameters):
            self._places = [layers.index_of_parameter(p) for p in self.parameters]
        by_hand = self.optimizer is None
        gradients = self._held if by_hand else [p.grad for p in self.parameters]
        found, self._held = list(enumerate(gradients)), []
        self._given = [i for i, g in found if g is not None]
        self._gradients = [_dense(g) for _, g in found if g is not None]
        places = [self._places[i] for i in self._given]
        collector.put_all("gradient", norms_of(self._gradients), places)

    def after(self, collector: Collector, step: int, *, last_sampled: int, first: bool) -> None:
        """The optimiser has stepped: norms of weights and updates, and the products with the step
        before, if that was sampled. Totals over all layers are of the `first` slot only."""
        with torch.no_grad():
            updates = torch._foreach_sub(self.parameters, self._old)  # pyright: ignore[reportPrivateImportUsage]
            updates = list(updates)
            collector.put_all("weight", norms_of(self._old), self._places)
            update_norms = norms_of(updates)
            collector.put_all("update", update_norms, self._places)
            moved = [updates[i] for i in self._given]
            if first:
                along = _products(self._gradients, moved)
                collector.put_all("along", along, [-1] * len(along))
                some = [update_norms[i] for i in self._given]
                collector.put_all("update_given", some, [-1] * len(some))
            last = self._last
            if (
                last is not None
                and last[:2] == (last_sampled, self._given)
                and last_sampled == step - 1
            ):
                places = [self._places[i] for i in self._given]
                collector.put_all("gradient_dot", _products(self._gradients, last[2]), places)
                before = [last[3][i] for i in self._given]
                collector.put_all("update_dot", _products(moved, before), places)
            kept = [g.clone() for g in self._gradients]
            self._last = (step, self._given, kept, updates)

    def given_parameters(self) -> list[Tensor]:
        """Those that had a gradient at the last sample."""
        return [self.parameters[i] for i in self._given]

    def forget(self) -> None:
        """Lets go of all copies."""
        self._last, self._old, self._gradients = None, [], []

    def release_large(self) -> None:
        """Lets go of the copies when they are large and no pair is going on."""
        if sum(p.numel() * p.element_size() for p in self.parameters) > KEPT_BYTES:
            self.forget()


class Norms:
    """Norms and cosines by layer from what slots collected; keeps the last ones for cosines."""

    def __init__(self) -> None:
        self._last: dict[str, dict[int, float]] = {}
        self.totals: dict[str, float] = {}

    def fill(self, fetched: Fetched, table: dict[str, list[float]]) -> None:
        """Puts weight, gradient, update norms and cosines into `table`, [layer] lists."""
        squares = {}
        for kind in ("weight", "gradient", "update"):
            squares[kind] = _sum_by_layer(fetched.get(kind, ()), 2)
            row = table[f"{kind}_norm"]
            for at, value in squares[kind].items():
                row[at] = math.sqrt(value) if value >= 0 else value
        for kind in ("gradient", "update"):
            dots, last = _sum_by_layer(fetched.get(f"{kind}_dot", ()), 1), self._last.get(kind, {})
            row = table[f"{kind}_cosine"]
            for at, value in dots.items():
                product = squares[kind].get(at, math.nan) * last.get(at, math.nan)
                row[at] = value / math.sqrt(product) if product > 0 else math.nan
        before = self.totals
        gradient = squares["gradient"].values()
        self.totals = {
            "gradient": sum(gradient) if gradient else math.nan,
            "gradient_before": before.get("gradient", math.nan),
            "gradient_dot": total(fetched, "gradient_dot", 1),
            "along": total(fetched, "along", 1),
            "update_given": total(fetched, "update_given", 2),
        }
        self._last = squares


def _sum_by_layer(pairs: Iterable[tuple[int, float]], power: int) -> dict[int, float]:
    sums: dict[int, float] = {}
    for at, value in pairs:
        sums[at] = sums.get(at, 0.0) + value**power
    return sums


def total(fetched: Fetched, kind: str, power: int) -> float:
    """The sum of what was fetched of one kind, each to that power; NaN when there is nothing."""
    pairs = fetched.get(kind)
    return sum(v**power for _, v in pairs) if pairs else math.nan


def slots_of(optimizers: Sequence[Optimizer], layers: Layers) -> list[Slot]:
    """One slot per optimiser; the first also has what trains and no optimiser holds."""
    taken: set[int] = set()
    slots: list[Slot] = []
    for optimizer in optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]} - taken
        taken |= held
        slots.append(Slot(optimizer, [p for p in layers.parameters if id(p) in held and _fit(p)]))
    if slots:
        slots[0].parameters += [
            p for p in layers.parameters if id(p) not in taken and p.requires_grad and _fit(p)
        ]
    return slots


def slot_of_all(layers: Layers) -> Slot:
    """All that trains, of no optimiser."""
    return Slot(None, [p for p in layers.parameters if p.requires_grad and _fit(p)])


def _fit(parameter: Tensor) -> bool:
    lazy = isinstance(parameter, UninitializedParameter)
    return parameter.is_floating_point() and not parameter.is_meta and not lazy


def _dense(gradient: Tensor | None) -> Tensor:
    assert gradient is not None, "only parameters with a gradient are asked"
    gradient = gradient.detach()
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def norms_of(tensors: list[Tensor]) -> list[Tensor]:
    """The L2 norm of each, at least in float32."""
    if not tensors:
        return []
    exact = (torch.float32, torch.float64)  # wider than what is asked for is refused by torch
    precision = None if all(t.dtype in exact for t in tensors) else torch.float32
    if precision is not None and any(t.dtype is torch.float64 for t in tensors):
        precision = torch.float64
    return list(torch._foreach_norm(tensors, 2, precision))  # pyright: ignore[reportPrivateImportUsage]


def _products(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
    return [_product(a, b) for a, b in zip(first, second, strict=True)]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Sum of products; NaN for shapes that differ, as sparse gradients have."""
    if a.shape != b.shape:
        return a.new_full((), float("nan"))
    if a.dtype is not torch.float32:
        a, b = a.float(), b.float()
    if a.dim() != 1:
        a, b = a.reshape(-1), b.reshape(-1)
    return torch.dot(a, b)
