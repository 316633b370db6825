"""What did somebody hand over? A network or what makes one, data, a loss and an optimiser become a
Program, without a change to any of them."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from trainwright.check.gather import gather
from trainwright.check.sample import Criterion, Sample, num_rows, whole_from
from trainwright.check.subject import sample_device
from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.edit.optimizer import plan_of
from trainwright.edit.program import Habits, Program
from trainwright.edit.surgery.initial import redraw

VALID_SHARE = 0.2  # of the examples, where the user holds none out [assumed]
FEWEST_TO_SPLIT = 20  # below this the examples are judged that were learned [assumed]
USUAL_BATCH = 32
EXAMPLE = "tw.heal(lambda: Net(width=64), (X, y), loss=..., optimizer=...)"
USUAL_STEPS = 400  # for somebody who says nothing: a curve has a shape by then [assumed]


def program_from(
    model: Any, data: Any, *, loss: Criterion, optimizer: Any, valid: Any = None,
    habits: Habits | None = None, batch_size: int | None = None, epochs: int | None = None,
    seed: int = 0, held_out: bool = True,
) -> Program:  # fmt: skip
    """A program of a user's own parts. `model` is a module, its class, or a function without
    arguments that makes one; `data` is (X, y), a DataLoader or a list of batches, `valid` the same.

    Without `valid` a fifth of the examples is held out, unless `held_out` is off: then those that
    were learned are judged. A module starts from its own weights at seed 0, and from a permutation
    of each tensor's entries at others.
    Raises TrainwrightError for what cannot be built twice alike, or does not fit together.
    """
    make = maker_of(model)
    first, second = make(seed), make(seed + 1)
    plan = plan_of(optimizer, model if isinstance(model, nn.Module) else first)
    _same_shapes(first, second)
    make = _apart(make, first, second)
    device = sample_device(first)
    whole = whole_from(data, device=device)
    size = batch_size or _batch_size(data) or min(USUAL_BATCH, whole.num_rows)
    if valid is not None:
        train, held = whole, whole_from(valid, device=device)
    else:
        train, held = _split(whole, seed) if held_out else (whole, whole)
    alone = held is train
    train = replace(train, batch_size=size)
    facts = gather(
        first, train.as_given(), loss=loss, optimizer=plan.build(first),
        valid=None if alone else held.as_given(), batch_size=size,
    )  # fmt: skip
    per_epoch = max(1, -(-train.num_rows // size))
    wanted = epochs or max(1, round(USUAL_STEPS / per_epoch))
    return Program(
        make_model=make, loss=loss, optimizer=plan, train=train, judged=held,
        valid=None if alone else held, facts=facts,
        habits=habits or Habits(batch_size=size, epochs=wanted),
    )  # fmt: skip


def maker_of(model: Any) -> Callable[[int], nn.Module]:
    """seed -> a fresh network. Raises TrainwrightError for what makes none, or cannot be copied."""
    if isinstance(model, nn.Module):
        return _Copier(model)
    if callable(model):
        return _Factory(model)
    raise _no_network(model)


def _no_network(value: Any) -> TrainwrightError:
    return TrainwrightError(
        phrase("{value} makes no network", value=shown(type(value).__name__)),
        allowed=phrase("a torch.nn.Module, its class, or a function that makes one"),
        do=phrase("for example {code}", code=EXAMPLE),
    )


class _Factory:
    """Seeds torch and calls what makes the network."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __call__(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = self._make()
        if not isinstance(made, nn.Module):
            raise _no_network(made)
        return made


def _apart(
    make: Callable[[int], nn.Module], first: nn.Module, second: nn.Module
) -> Callable[[int], nn.Module]:
    """`make` for networks that share nothing: training or changing one leaves the others, and the
    user's own parts, alone."""
    if first is second:
        return _Copier(first)
    shared = {id(m) for m in first.modules()} & {id(m) for m in second.modules()}
    return _Sharing(make) if shared else make


class _Sharing:
    """Copies what a function makes of parts that it uses again."""

    def __init__(self, make: Callable[[int], nn.Module]) -> None:
        self._make = make

    def __call__(self, seed: int) -> nn.Module:
        return _copied(self._make(seed))


class _Copier:
    """Copies a network that exists; other seeds than 0 permute the entries of its tensors."""

    def __init__(self, model: nn.Module) -> None:
        self._model = _copied(model)

    def __call__(self, seed: int) -> nn.Module:
        made = copy.deepcopy(self._model)
        if seed:
            redraw(made, seed)
        return made


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a foreign __deepcopy__ raises
        raise TrainwrightError(
            phrase("{type} cannot be copied: {reason}", type=shown(type(model).__name__),
                   reason=shown(str(error))),
            allowed=phrase("a network that copy.deepcopy copies, or a function that makes it"),
            do=phrase("for example {code}", code=EXAMPLE),
        ) from None  # fmt: skip


def _same_shapes(first: nn.Module, second: nn.Module) -> None:
    shapes = [{name: tuple(p.shape) for name, p in m.named_parameters()} for m in (first, second)]
    if shapes[0] != shapes[1]:
        raise TrainwrightError(
            phrase("the function makes networks of other shapes each time"),
            allowed=phrase("the same layers at every call"),
            do=phrase("fix what it draws at random, apart from the weights"),
        )


def _batch_size(data: Any) -> int | None:
    if isinstance(data, DataLoader):
        return data.batch_size
    if isinstance(data, tuple | Mapping) or not isinstance(data, Iterable):
        return None
    first = next(iter(data), None)
    return num_rows(first[0]) if isinstance(first, tuple | list) and first else None


def _split(whole: Sample, seed: int) -> tuple[Sample, Sample]:
    """(train, held out), at random; both the whole where there is too little to split."""
    count = whole.num_rows
    if count < FEWEST_TO_SPLIT:
        return whole, whole
    order = np.random.default_rng(seed).permutation(count)
    cut = max(1, round(count * VALID_SHARE))
    return whole.pick(np.sort(order[cut:])), whole.pick(np.sort(order[:cut]))
