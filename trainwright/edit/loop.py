"""How does a program train? The plain loop that its habits describe, and what its answers are worth
on held-out examples, in the user's own unit."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.check.sample import Sample, first_tensor
from trainwright.check.score import model_score
from trainwright.check.subject import same_random_states
from trainwright.edit.augment import augmented_loss
from trainwright.edit.program import Decoded, Habits, Program

LOOKS = 10  # at the held-out examples in a run that keeps its best weights [assumed]

Heard = Callable[[int, float], None]  # step, loss


@dataclass(slots=True, kw_only=True)
class Trained:
    """A program after its loop: `losses` [step]; `score` accuracy or R2 on held-out examples,
    None where outputs left the numbers."""

    model: nn.Module
    optimizer: Optimizer
    losses: np.ndarray
    score: float | None
    seconds: float
    state: str = "finished"  # or "failed": the loss left the numbers

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def train(
    program: Program, seed: int, *, watch: Callable[[nn.Module, Optimizer], Any] | None = None,
    steps: int | None = None, heard: Heard | None = None,
) -> Trained:  # fmt: skip
    """Trains from a fresh start at `seed`. `watch` makes a context manager around the loop;
    `steps` ends it early, without shortening its schedule."""
    with same_random_states():
        torch.manual_seed(seed)
        model, optimizer = program.start(seed)
        began = time.perf_counter()
        watched = watch(model, optimizer) if watch is not None else None
        if watched is not None:
            watched.attach()
        try:
            losses, best = _run(program, model, optimizer, seed, steps, heard, watched)
        finally:
            if watched is not None:
                watched.detach()
        seconds = time.perf_counter() - began
        if best is not None:
            model.load_state_dict(best)
        finite = bool(np.isfinite(losses).all())
        return Trained(model=model, optimizer=optimizer, losses=losses,
                       score=score(program, model), seconds=seconds,
                       state="finished" if finite else "failed")  # fmt: skip


def score(program: Program, model: nn.Module, *, on: Sample | None = None) -> float | None:
    """Accuracy or R2 (floored at -99) of the answers to held-out examples, or to `on`; None when
    outputs are not finite or nothing fits."""
    mode = model.training
    model.train(not program.habits.judges)
    decoded = Decoded(model, program.decode)
    decoded.training = model.training
    try:
        with torch.no_grad():
            found, _ = model_score(decoded, on or program.judged, program.facts)
            alive = _finite(model, on or program.judged)
    finally:
        model.train(mode)
    return found if alive else None


def _finite(model: nn.Module, sample: Sample) -> bool:
    outputs = first_tensor(sample.rows(64).run(model))
    return outputs is not None and bool(torch.isfinite(outputs).all())


def _run(
    program: Program, model: nn.Module, optimizer: Optimizer, seed: int, steps: int | None,
    heard: Heard | None, watched: Any,
) -> tuple[np.ndarray, dict[str, Tensor] | None]:  # fmt: skip
    habits, total = program.habits, program.num_steps
    rates = [group.get("lr") for group in optimizer.param_groups]
    losses: list[float] = []
    every = max(1, total // LOOKS)
    best: tuple[float, dict[str, Tensor]] | None = None
    feed, began = batches(program.train, habits, seed), time.perf_counter()
    model.train(habits.trains)
    for step in range(min(total, steps or total)):
        _set_rates(optimizer, rates, rate_factor(habits, step, total))
        losses.append(take_step(program, model, optimizer, feed))
        if heard is not None:
            heard(step + 1, losses[-1])
        if not math.isfinite(losses[-1]):
            break
        if (step + 1) % every == 0:
            best = _look(program, model, best, watched)
        if habits.seconds is not None and time.perf_counter() - began > habits.seconds:
            break
    return np.array(losses), best[1] if best is not None and habits.keeps_best else None


def _look(
    program: Program, model: nn.Module, best: tuple[float, dict[str, Tensor]] | None, watched: Any
) -> tuple[float, dict[str, Tensor]] | None:  # fmt: skip
    """What the held-out examples say now: told to who watches, kept if it is the best."""
    if watched is None and not program.habits.keeps_best:
        return best
    found = score(program, model)
    model.train(program.habits.trains)
    if watched is not None and program.valid is not None and found is not None:
        watched.valid(score=found, loss=eval_loss(program, model, program.valid))
        model.train(program.habits.trains)
    if not program.habits.keeps_best or found is None or (best is not None and found <= best[0]):
        return best
    return found, copy.deepcopy(model.state_dict())


def eval_loss(program: Program, model: nn.Module, sample: Sample, *, rows: int = 512) -> float:
    """The criterion on at most `rows` of the sample, in eval mode; NaN where it cannot be had."""
    few = sample.rows(rows)
    model.train(not program.habits.judges)
    with torch.no_grad():
        try:
            return float(program.loss(few.run(model), few.targets))
        except Exception:  # a criterion that works in training only
            return math.nan


def take_step(
    program: Program, model: nn.Module, optimizer: Optimizer, feed: Iterator[Sample]
) -> float:
    """One update; returns the mean loss of its batches, penalties left out."""
    habits = program.habits
    if isinstance(optimizer, torch.optim.LBFGS):
        batch, losses = next(feed), list[float]()

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = augmented_loss(program, model, batch)
            losses.append(float(loss.detach()))
            loss = loss + _penalty(model, habits)
            loss.backward()
            return loss

        optimizer.step(closure)  # pyright: ignore[reportArgumentType]
        return losses[0]
    if habits.clears:
        optimizer.zero_grad()
    total = 0.0
    for _ in range(habits.accumulate):
        loss = augmented_loss(program, model, next(feed))
        total += float(loss.detach()) / habits.accumulate
        ((loss + _penalty(model, habits)) / habits.accumulate).backward()
    if habits.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), habits.clip_norm)
    optimizer.step()
    return total


def _penalty(model: nn.Module, habits: Habits) -> Tensor | float:
    """The sum of all penalties, with its graph."""
    total: Tensor | float = 0.0
    for penalty in habits.penalties:
        weight = model.get_parameter(penalty.parameter)
        total = total + penalty.l1 * weight.abs().sum() + penalty.l2 * (weight**2).sum()
    return total


def loss_of(program: Program, model: nn.Module, batch: Sample) -> Tensor:
    """The criterion on one batch, with its graph."""
    return program.loss(batch.call(model), batch.targets)


def batches(sample: Sample, habits: Habits, seed: int) -> Iterator[Sample]:
    """Batches for ever, in the order that the seed and the habits give; the last one of an epoch
    may be shorter."""
    own, count = np.random.default_rng(seed), sample.num_rows
    weights = _balance(sample) if habits.balanced else None
    while True:
        if weights is not None:
            order = own.choice(count, count, p=weights)
        else:
            order = own.permutation(count) if habits.shuffle else np.arange(count)
        for start in range(0, count, habits.batch_size):
            yield sample.pick(order[start : start + habits.batch_size])


def _balance(sample: Sample) -> np.ndarray | None:
    """[example] of chances that make classes equally frequent; None for targets without classes."""
    targets = sample.targets
    if not isinstance(targets, Tensor) or targets.ndim == 0:
        return None
    flat = targets.argmax(-1) if targets.ndim == 2 and targets.shape[1] > 1 else targets.reshape(-1)
    if len(flat) != sample.num_rows:
        return None
    _, where, counts = torch.unique(flat, return_inverse=True, return_counts=True)
    chances = (1.0 / counts.double())[where].cpu().numpy()
    return chances / chances.sum()


def rate_factor(habits: Habits, step: int, total: int) -> float:
    """By how much the rate of step `step` (from 0) differs from its peak: linear warmup, then
    constant or half a cosine down to zero."""
    if step < habits.warmup_steps:
        return (step + 1) / habits.warmup_steps
    if habits.schedule == "constant":
        return 1.0
    done = (step - habits.warmup_steps) / max(1, total - habits.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def _set_rates(optimizer: Optimizer, rates: list[Any], factor: float) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if rate is not None:
            group["lr"] = rate * factor
