"""What does watching cost? Seconds and CPU seconds per step of an MLP and a CNN on digits, watched
and not, blocks of both in turn in one process; budgets kept; the opening; memory of a long run."""

import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
from harness import arguments, header, publish
from step_time import BATCH, MOMENTUM, RATE, cnn, digits, mlp
from torch import nn
from torch.nn import functional as F

from trainwright.store.contract import Reading
from trainwright.watch import course as course_module
from trainwright.watch import watcher as watcher_module
from trainwright.watch.watcher import Watcher

BLOCK = 50  # steps in a row of one contender
LENGTHS = (1_000, 5_000, 20_000)
real_clock = time.perf_counter


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


def steps(make: Callable[[], nn.Module], X: torch.Tensor, y: torch.Tensor, *, criterion: bool,
          watch: Callable[..., Watcher] | None) -> Iterator[Watcher | None]:  # fmt: skip
    """A bare loop that yields after each step."""
    torch.manual_seed(0)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    loss_module = nn.CrossEntropyLoss()
    watcher = watch(model, optimizer, loss=loss_module if criterion else None) if watch else None
    n = len(X) // BATCH * BATCH
    while True:
        order = torch.randperm(len(X))
        for i in range(0, n, BATCH):
            rows = order[i : i + BATCH]
            out = model(X[rows])
            loss = loss_module(out, y[rows]) if criterion else F.cross_entropy(out, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield watcher


def compare(make, X, y, *, length: int, criterion: bool, budget: float) -> dict[str, float]:
    """Watched over bare for a run of `length` steps: wall and CPU ratios, and what was spent."""
    clock = Clock()
    watcher_module.perf_counter = course_module.perf_counter = clock

    def watch(*args, **kwargs) -> Watcher:
        return Watcher(*args, budget=budget, **kwargs).attach()

    bare = steps(make, X, y, criterion=criterion, watch=None)
    watched = steps(make, X, y, criterion=criterion, watch=watch)
    wall, cpu = {"bare": [], "watched": []}, {"bare": 0.0, "watched": 0.0}
    near = []  # indices of watched steps that were sampled, and of those after them
    watcher = None
    for number in range(length // BLOCK):
        pair = [("bare", bare), ("watched", watched)]
        for name, loop in pair if number % 2 else pair[::-1]:
            if name == "watched":
                clock.enter()
            began_cpu = time.process_time()
            for _ in range(BLOCK):
                began = real_clock()
                watcher = next(loop) or watcher
                wall[name].append(real_clock() - began)
                if name == "watched" and watcher._course.last_sampled == watcher.num_steps:
                    near += [len(wall[name]) - 1, len(wall[name])]
            cpu[name] += time.process_time() - began_cpu
            if name == "watched":
                clock.leave()
    assert watcher is not None, "the watched loop yields its watcher"
    clock.enter()
    watcher.detach()
    usual = trimmed(wall["bare"])
    dear = set(near)
    plain = trimmed([t for i, t in enumerate(wall["watched"]) if i not in dear])
    sampled = [wall["watched"][i] for i in dear if i < length]
    # the first step holds the attachment; others are cut where another process has cut in
    extra = sum(min(t, 8 * statistics.median(sampled)) - usual for t in sampled)
    extra += (length - len(sampled)) * (plain - usual)
    samples = watcher.history().steps
    opening = int(np.argmax(np.diff(samples) > 1)) + 1 if len(samples) > 1 else len(samples)
    return {
        "step_us": 1e6 * usual,
        "wall": 1 + extra / (length * usual),
        "cpu": cpu["watched"] / cpu["bare"],
        "plain_us": 1e6 * (plain - usual),
        "sampled_us": 1e6 * (statistics.median(wall["watched"][i] for i in near[::2]) - usual),
        "opening_ms": 1e3 * sum(wall["watched"][i] - usual for i in range(opening)),
        "metered": watcher.overhead,
        "samples": len(samples),
        "opening": opening,
        "losses": len(watcher.history().loss.steps) / length,
    }


def trimmed(seconds: list[float]) -> float:
    """Mean of the middle four fifths."""
    middle = sorted(seconds)[len(seconds) // 10 : -len(seconds) // 10]
    return statistics.fmean(middle)


def time_table(rounds: int) -> str:
    lines = ["| net | loss | threads | steps | us/step | watched/bare wall | CPU | metered | plain step, us more | sampled step, us more | samples | opening: steps, ms | losses read |", "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, make, image in (("MLP", mlp, False), ("CNN", cnn, True)):
            X, y = digits(image=image)
            for criterion in (True, False):
                for length in LENGTHS:
                    if not criterion and length != LENGTHS[-1]:
                        continue
                    n = rounds if length < 20_000 else max(1, rounds // 3)
                    found = [compare(make, X, y, length=length, criterion=criterion, budget=0.02) for _ in range(n)]  # fmt: skip
                    m = {k: statistics.median(f[k] for f in found) for k in found[0]}
                    walls = sorted(f["wall"] for f in found)
                    lines.append(
                        f"| {name} | {'module' if criterion else 'function'} | {threads} | {length} | {m['step_us']:.0f} | "
                        f"**{m['wall']:.3f}** ({walls[0]:.3f}-{walls[-1]:.3f}) | {m['cpu']:.3f} | {m['metered']:.3f} | {m['plain_us']:.1f} | {m['sampled_us']:.0f} | {m['samples']:.0f} | {m['opening']:.0f}, {m['opening_ms']:.0f} | {m['losses']:.0%} |"
                    )
                    print(lines[-1], flush=True)
    return "\n".join(lines)


def budget_table(rounds: int) -> str:
    lines = [
        "| net | budget | watched/bare wall | metered | plain step, us more | samples | losses read |",
        "|---|---|---|---|---|---|---|",
    ]
    torch.set_num_threads(1)
    for name, make, image in (("MLP", mlp, False), ("CNN", cnn, True)):
        X, y = digits(image=image)
        for budget in (0.01, 0.02, 0.05):
            found = [compare(make, X, y, length=20_000, criterion=True, budget=budget) for _ in range(max(1, rounds // 3))]  # fmt: skip
            m = {k: statistics.median(f[k] for f in found) for k in found[0]}
            walls = sorted(f["wall"] for f in found)
            lines.append(f"| {name} | {budget:.0%} | **{m['wall']:.4f}** ({walls[0]:.4f}-{walls[-1]:.4f}) | {m['metered']:.4f} | {m['plain_us']:.1f} | {m['samples']:.0f} | {m['losses']:.0%} |")  # fmt: skip
            print(lines[-1], flush=True)
    return "\n".join(lines)


def memory_table() -> str:
    """50 layers, 100 000 steps: what a watcher holds, and what it handed to a sink."""
    stored = [0]

    def sink(readings: tuple[Reading, ...]) -> None:
        stored[0] += sum(np.asarray(v).size * 8 for r in readings for v in r.values.values())

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(50)])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    criterion, X, y = nn.MSELoss(), torch.randn(8, 4), torch.zeros(8, 4)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    watcher = Watcher(model, optimizer, loss=criterion, sink=sink, budget=0.05).attach()
    for _ in range(100_000):
        optimizer.zero_grad()
        criterion(model(X), y).backward()
        optimizer.step()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    watcher.detach()
    history = watcher.history()
    return (f"| held in Python | handed to the sink, as float64 | samples | losses |\n|---|---|---|---|\n"
            f"| {held / 1e6:.1f} MB | {stored[0] / 1e6:.1f} MB | {len(history.steps)} | {len(history.loss.steps)} |")  # fmt: skip


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", choices=("time", "budget", "memory"))
    options = parser.parse_args()
    parts = [header("Cost of watching", "numpy"), f"blocks of {BLOCK} steps in turn, every step timed. Wall ratio: plain steps by means of their middle four fifths, sampled steps and those after them by their sum (each at most 8x their median: other processes); CPU ratio: plain sums, and so noisier. Medians over rounds (lowest-highest)\n"]  # fmt: skip
    if options.only in (None, "time"):
        parts += ["## Time\n", time_table(options.rounds), ""]
    if options.only in (None, "budget"):
        parts += ["## Budgets, 20 000 steps, one thread\n", budget_table(options.rounds), ""]
    if options.only in (None, "memory"):
        parts += ["## Memory, 50 layers, 100 000 steps\n", memory_table(), ""]
    publish("watch_cost", "\n".join(parts), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
