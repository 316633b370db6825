"""How is one loop compared with the same loop and a companion beside it? Blocks of both in turn in
one process, each step timed, every kind of step cut alike where another process cut in."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from step_time import BATCH, MOMENTUM, RATE, cnn, digits, mlp
from torch import nn
from torch.nn import functional as F

from trainwright.watch import course as course_module
from trainwright.watch import watcher as watcher_module
from trainwright.watch.watcher import Watcher

BLOCK = 50  # steps in a row of one contender
AFTER = 16  # steps after a sampled one that it still slows [measured: watch/budget.py]
NETS = {"MLP": (mlp, False), "CNN": (cnn, True)}
real_clock = time.perf_counter
Told = Callable[[int, torch.Tensor], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """What goes along with a loop: hooks it has put in place itself, and what the loop tells it."""

    after_backward: Told | None = None
    after_step: Told | None = None
    close: Callable[[], object] = lambda: None
    watcher: Watcher | None = None


Accompany = Callable[[nn.Module, torch.optim.Optimizer, nn.Module | None], Companion]


def alone(model: nn.Module, optimizer: torch.optim.Optimizer, loss: nn.Module | None) -> Companion:
    """Nobody goes along."""
    return Companion()


def watched(budget: float) -> Accompany:
    """Ours goes along."""

    def accompany(model, optimizer, loss) -> Companion:
        watcher = Watcher(model, optimizer, loss=loss, budget=budget).attach()
        return Companion(watcher=watcher, close=watcher.detach)

    return accompany


class Clock:
    """The time that one contender has run: others' blocks stop it, so that a watcher's budget is
    of its own loop's time."""

    def __init__(self) -> None:
        self.away, self.left = 0.0, None

    def __call__(self) -> float:
        return (self.left if self.left is not None else real_clock()) - self.away

    def leave(self) -> None:
        self.left = real_clock()

    def enter(self) -> None:
        if self.left is not None:
            self.away += real_clock() - self.left
        self.left = None


def loop(net: str, *, criterion: bool, accompany: Accompany) -> Iterator[Companion]:
    """A bare loop that yields after each step; `criterion`: the loss is a module."""
    make, image = NETS[net]
    X, y = digits(image=image)
    torch.manual_seed(0)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    module = nn.CrossEntropyLoss()
    beside = accompany(model, optimizer, module if criterion else None)
    step, n = 0, len(X) // BATCH * BATCH
    while True:
        order = torch.randperm(len(X))
        for i in range(0, n, BATCH):
            step += 1
            rows = order[i : i + BATCH]
            out = model(X[rows])
            loss = module(out, y[rows]) if criterion else F.cross_entropy(out, y[rows])
            optimizer.zero_grad()
            loss.backward()
            if beside.after_backward is not None:
                beside.after_backward(step, loss)
            optimizer.step()
            if beside.after_step is not None:
                beside.after_step(step, loss)
            yield beside


def shuffle_memory(kept: list) -> None:
    """Objects of random sizes, so that each loop lies elsewhere. Without it, of two equal loops the
    one made first was 0.7 % slower in 10 of 10 rounds [measured: MLP, 1 thread]."""
    kept.append([torch.empty(random.randint(1, 6000)) for _ in range(random.randint(20, 200))])
    kept.append([object() for _ in range(random.randint(1, 5000))])
    del kept[: max(0, len(kept) - 12)]


def compare(net: str, accompany: Accompany, *, length: int, criterion: bool = True,
            turned: bool = False, kept: list) -> dict[str, float]:  # fmt: skip
    """Accompanied over bare for `length` steps of each: ratios, and what a watcher says of itself.

    `turned`: the bare loop is made first.
    """
    clock = Clock()
    watcher_module.perf_counter = course_module.perf_counter = clock
    loops = {"bare": loop(net, criterion=criterion, accompany=alone),
             "beside": loop(net, criterion=criterion, accompany=accompany)}  # fmt: skip
    names = ["bare", "beside"] if turned else ["beside", "bare"]
    wall: dict[str, list[float]] = {"bare": [], "beside": []}
    cpu = {"bare": 0.0, "beside": 0.0}
    sampled: list[int] = []  # indices of steps that the watcher looked at
    companions: dict[str, Companion] = {}
    for number in range(length // BLOCK):
        for name in names if number % 2 == 0 else names[::-1]:
            if number == 0:
                shuffle_memory(kept)
            if name == "beside":
                clock.enter()
            began_cpu, seconds, steps = time.process_time(), wall[name], loops[name]
            for _ in range(BLOCK):
                began = real_clock()
                companions[name] = next(steps)
                seconds.append(real_clock() - began)
                watcher = companions[name].watcher
                if watcher is not None and watcher._course.last_sampled == watcher.num_steps:
                    sampled.append(len(seconds) - 1)
            cpu[name] += time.process_time() - began_cpu
            if name == "beside":
                clock.leave()
    clock.enter()
    companion = companions["beside"]
    companion.close()
    usual = cut_mean(wall["bare"])
    found = {
        "step_us": 1e6 * usual,
        "raw": sum(wall["beside"]) / sum(wall["bare"]),
        "cpu": cpu["beside"] / cpu["bare"],
    }
    if companion.watcher is None:
        return found | {"wall": cut_mean(wall["beside"]) / usual}
    return found | _of_watcher(companion.watcher, wall["beside"], sampled, usual)


def _of_watcher(watcher: Watcher, seconds: list[float], sampled: list[int], usual: float) -> dict:
    """Wall ratio by kinds of steps, each kind cut for itself, and the watcher's own account."""
    length, history = len(seconds), watcher.history()
    opening = next((i for i, at in enumerate(sampled) if at != i), len(sampled))
    kinds = {"opening": list(range(opening)), "sampled": sampled[opening:]}
    dear = set(kinds["opening"]) | set(kinds["sampled"])
    after = {i + k for i in sampled for k in range(1, AFTER + 1)} - dear
    kinds["after"] = [i for i in after if i < length]
    kinds["plain"] = [i for i in range(length) if i not in dear and i not in after]
    means = {k: cut_mean([seconds[i] for i in at]) - usual for k, at in kinds.items() if at}
    # the first step holds the attachment
    median = statistics.median(seconds[:opening])
    means["opening"] = statistics.fmean(min(t, 8 * median) for t in seconds[:opening]) - usual
    extra = {k: len(kinds[k]) * mean for k, mean in means.items()}
    return {
        "wall": 1 + sum(extra.values()) / (length * usual),
        "metered": watcher.overhead,
        "plain_us": 1e6 * means.get("plain", 0.0),
        "plain_share": extra.get("plain", 0.0) / (length * usual),
        "sampled_us": 1e6 * means.get("sampled", means["opening"]),
        "after_us": 1e6 * extra.get("after", 0.0) / len(sampled),
        "opening": opening,
        "opening_ms": 1e3 * extra["opening"],
        "samples": len(history.steps),
        "losses": len(history.loss.steps) / length,
    }


def cut_mean(seconds: list[float]) -> float:
    """Mean of steps of one kind, each at most 1.5 times their median."""
    limit = 1.5 * statistics.median(seconds)
    return statistics.fmean(min(t, limit) for t in seconds)


class Rounds:
    """Comparisons, several of each; one that is asked for twice is made once."""

    def __init__(self) -> None:
        self._found: dict[tuple, list[dict[str, float]]] = {}
        self._kept: list = []

    def warm(self) -> None:
        """What only the first run in a process costs."""
        for net in NETS:
            compare(net, watched(0.02), length=100, kept=self._kept)

    def of(self, net: str, name: str, accompany: Accompany, *, length: int, n: int,
           criterion: bool = True) -> list[dict[str, float]]:  # fmt: skip
        """`n` comparisons, the bare loop made first in every other one."""
        key = (net, name, length, n, criterion, torch.get_num_threads())
        if key not in self._found:
            self._found[key] = [
                compare(net, accompany, length=length, criterion=criterion, turned=bool(k % 2),
                        kept=self._kept)
                for k in range(n)
            ]  # fmt: skip
        return self._found[key]


def middle(found: list[dict[str, float]], key: str) -> float:
    """Median over rounds."""
    return statistics.median(f[key] for f in found)


def spread(found: list[dict[str, float]], key: str, digits: int = 3) -> str:
    """Median (lowest-highest)."""
    values = sorted(f[key] for f in found)
    return f"**{statistics.median(values):.{digits}f}** ({values[0]:.{digits}f}-{values[-1]:.{digits}f})"


def step_seconds() -> dict[str, float]:
    """Seconds of a bare step of each net, quickly, for an estimate of how long all takes."""
    seconds = {}
    for net in NETS:
        steps = loop(net, criterion=True, accompany=alone)
        for _ in range(20):
            next(steps)
        began = real_clock()
        for _ in range(100):
            next(steps)
        seconds[net] = (real_clock() - began) / 100
    return seconds
