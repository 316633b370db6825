"""What does watching cost? Seconds and CPU seconds per step of an MLP and a CNN on digits, watched
and not; budgets kept; peers on the same step; our own loop while it is watched; memory."""

import os
import sys
from collections.abc import Sequence
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import step_time
import torch
from harness import arguments, header, interleaved, publish, ratios, timed
from watch_loops import AFTER, BLOCK, NETS, Rounds, alone, middle, spread, step_seconds, watched
from watch_memory import LAYERS, memory_table
from watch_peers import PEERS, peers_table

from trainwright.edit.surgery.norm import insert_norm
from trainwright.edit.surgery.observe import observe

LENGTHS = (1_000, 5_000, 20_000)
CONTROL_STEPS = 5_000
REPEATS = {"MLP": 2, "CNN": 1}  # of each round: the noise of the shorter step is twice as large
BUDGETS = (0.01, 0.02, 0.05)
PARTS = ("time", "budget", "peers", "fit", "memory", "edited")
EDITED_STEPS = 5_000
MEMORY_STEPS = 100_000
MEMORY_STEP_SECONDS = 2.5e-3  # [assumed] of 50 layers, for the estimate
NOTE = f"""Blocks of {BLOCK} steps in turn in one process, each step timed. Wall ratio: plain steps,
sampled ones, the {AFTER} after a sampled one and the opening by their means, a step at most 1.5 times
the median of its kind (the opening: 8 times): other processes cut in. CPU ratio: sums of all. The
bare loop is made first in every other round, among objects of random sizes: where a model lies in
memory changes its step by 0.6 % (sd of the control, in which both loops are bare: MLP, 1 thread).
Medians over n rounds (lowest-highest). One warm-up before, which pays the imports of the first step."""


# time ---------------------------------------------------------------------------------------------


def time_table(
    rounds: Rounds, *, threads: Sequence[int], lengths: Sequence[int], repeats: int
) -> str:
    lines = ["| net | loss | threads | steps | n | us/step | watched/bare wall | CPU | metered | plain step, us more | sampled step, us more | after one, us more | samples | opening: steps, ms | losses read |", "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for count in threads:
        torch.set_num_threads(count)
        for net in NETS:
            n, length = repeats * REPEATS[net], min(CONTROL_STEPS, lengths[-1])
            found = rounds.of(net, "alone", alone, length=length, n=n)
            lines.append(f"| {net} | module | {count} | {length} | {n} | {middle(found, 'step_us'):.0f} | control, both bare: {spread(found, 'wall')} | {middle(found, 'cpu'):.3f} | | | | | | | |")  # fmt: skip
            print(lines[-1], flush=True)
            for criterion in (True, False):
                for length in lengths if criterion else lengths[-1:]:
                    found = rounds.of(net, "0.02", watched(0.02), length=length, n=n, criterion=criterion)  # fmt: skip
                    lines.append(_time_row(net, criterion, count, length, n, found))
                    print(lines[-1], flush=True)
    return "\n".join(lines)


def _time_row(net, criterion: bool, threads: int, length: int, n: int, found) -> str:
    m = {k: middle(found, k) for k in found[0]}
    return (
        f"| {net} | {'module' if criterion else 'function'} | {threads} | {length} | {n} | {m['step_us']:.0f} | "
        f"{spread(found, 'wall')} | {m['cpu']:.3f} | {m['metered']:.3f} | {m['plain_us']:.1f} | "
        f"{m['sampled_us']:.0f} | {m['after_us']:.0f} | {m['samples']:.0f} | {m['opening']:.0f}, {m['opening_ms']:.0f} | {m['losses']:.0%} |"
    )


def budget_table(rounds: Rounds, *, length: int, repeats: int) -> str:
    lines = [
        "| net | budget | n | watched/bare wall | CPU | metered | points beside the budget, wall | of it plain steps | plain step, us more | samples | losses read |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    torch.set_num_threads(1)
    for net in NETS:
        n = repeats * REPEATS[net]
        for budget in BUDGETS:
            found = rounds.of(net, str(budget), watched(budget), length=length, n=n)
            m = {k: middle(found, k) for k in found[0]}
            beside = 100 * (m["wall"] - 1 - budget)
            lines.append(f"| {net} | {budget:.0%} | {n} | {spread(found, 'wall', 4)} | {spread(found, 'cpu', 4)} | {m['metered']:.4f} | {beside:+.2f} | {100 * m['plain_share']:.2f} | {m['plain_us']:.1f} | {m['samples']:.0f} | {m['losses']:.0%} |")  # fmt: skip
            print(lines[-1], flush=True)
    return "\n".join(lines)


def edited_table(rounds: Rounds, *, length: int, repeats: int) -> str:
    """Watched over bare of networks whose layers got a norm by surgery, beside the same ones as
    they were."""
    lines = [
        "| net | n | us/step | watched/bare wall | CPU | metered |",
        "|---|---|---|---|---|---|",
    ]
    torch.set_num_threads(1)
    for net, (make, image) in list(NETS.items()):
        NETS[f"{net}, norms inserted"] = (partial(_with_norms, make, image), image)
        for name in (net, f"{net}, norms inserted"):
            n = repeats * REPEATS[net]
            found = rounds.of(name, "0.02", watched(0.02), length=length, n=n)
            m = {k: middle(found, k) for k in found[0]}
            lines.append(f"| {name} | {n} | {m['step_us']:.0f} | {spread(found, 'wall')} | {spread(found, 'cpu')} | {m['metered']:.3f} |")  # fmt: skip
            print(lines[-1], flush=True)
    return "\n".join(lines)


def _with_norms(make, image: bool) -> torch.nn.Module:
    model = make()
    X, _ = step_time.digits(image=image)
    insert_norm(model, observe(model, [X[:32]]), "layer")
    return model


# our own loop -------------------------------------------------------------------------------------


def fit_table(*, threads: Sequence[int], repeats: int) -> str:
    """Seconds of a step in `tw.fit`, watched as by default, over the bare loop's: step_time's way."""
    loops = {
        "bare": step_time.bare,
        "tw.fit, watched (2 %)": step_time.ours,
        "tw.fit, not watched": partial(step_time.ours, watch=False),
    }
    lines = ["| net | threads | loop | n | us/step | ratio to bare |", "|---|---|---|---|---|---|"]
    for count in threads:
        torch.set_num_threads(count)
        for net, (make, image) in NETS.items():
            n, (X, y) = repeats * REPEATS[net], step_time.digits(image=image)
            for loop in loops.values():
                loop(make, X, y, 2)
            contenders = {name: partial(_slope, loop, make, X, y) for name, loop in loops.items()}
            seconds = interleaved(contenders, rounds=n)
            for name, (median, low, high) in ratios(seconds, "bare").items():
                micro = 1e6 * float(np.median(seconds[name]))
                lines.append(f"| {net} | {count} | {name} | {n} | {micro:.0f} | **{median:.3f}** ({low:.3f}-{high:.3f}) |")  # fmt: skip
                print(lines[-1], flush=True)
    return "\n".join(lines)


def _slope(loop, make, X: torch.Tensor, y: torch.Tensor) -> float:
    """Seconds of a step between a short and a long run."""
    short = timed(lambda: loop(make, X, y, step_time.SHORT))
    long = timed(lambda: loop(make, X, y, step_time.LONG))
    return (long - short) / ((step_time.LONG - step_time.SHORT) * (len(X) // step_time.BATCH))


# all ----------------------------------------------------------------------------------------------


def estimate(options, lengths: Sequence[int], length: int) -> dict[str, float]:
    """Minutes of each part here, from a hundred bare steps of each net."""
    seconds = step_seconds()
    one = sum(seconds.values()) / 60  # minutes of one step of each net
    repeated = options.rounds * sum(REPEATS[net] * seconds[net] for net in NETS) / 60
    epochs = 2.6 * (step_time.SHORT + step_time.LONG) * 28
    threads, memory = len(options.threads), 1.15 * options.memory_steps
    return {
        "time": threads * 2.1 * repeated * (sum(lengths) + length + min(CONTROL_STEPS, length)),
        "budget": 2.1 * repeated * length * (2 if "time" in options.only else 3),
        # [measured: a step beside nobody and one beside a peer take 2.9 bare ones, mean over all]
        "peers": threads * options.peer_rounds * 2.9 * one * options.peer_steps * (2 + len(PEERS)),
        "fit": threads * repeated * epochs,
        "memory": options.memory_rounds * 2 * memory * MEMORY_STEP_SECONDS / 60,
        "edited": 2 * 2.5 * repeated * min(EDITED_STEPS, length),
    }


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--rounds",
        type=int,
        default=4,
        help="n of time, budget and fit for the CNN, half of the MLP's; even",
    )
    parser.add_argument("--peer-rounds", type=int, default=2)
    parser.add_argument("--memory-rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--peers", help="folder that peers were installed into: pip install --target")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="two short rounds of everything: does it run?")  # fmt: skip
    options = parser.parse_args()
    lengths, options.memory_steps, options.peer_steps = list(LENGTHS), MEMORY_STEPS, 5_000
    if options.quick:
        lengths, options.memory_steps, options.peer_steps = [1_000], 2_000, 1_000
        options.rounds = options.peer_rounds = 2
    length = lengths[-1]
    torch.set_num_threads(1)
    rounds = Rounds()
    rounds.warm()
    minutes = {k: v for k, v in estimate(options, lengths, length).items() if k in options.only}
    print("estimate, minutes:", {k: round(v, 1) for k, v in minutes.items()}, "in all", round(sum(minutes.values())), flush=True)  # fmt: skip
    common = {"threads": options.threads, "repeats": options.rounds}
    peers = {"threads": options.threads, "length": options.peer_steps, "n": options.peer_rounds}
    tables = {
        "time": ("Time", lambda: time_table(rounds, lengths=lengths, **common)),
        "budget": (f"Budgets, {length} steps, one thread. Must reach: within 0.5 points; at 2 %: wall <= 1.02",
                   lambda: budget_table(rounds, length=length, repeats=options.rounds)),
        "peers": (f"Peers, {options.peer_steps} steps of each, in pairs; wall ratios by sums. What is done after the last step (reports) is not counted, nor processes beside ours (wandb has one)",
                  lambda: peers_table(rounds, folder=options.peers, **peers)),
        "fit": (f"tw.fit beside the bare loop: slope between {step_time.SHORT} and {step_time.LONG} epochs. Must reach: watched <= 0.97",
                lambda: fit_table(**common)),
        "memory": (f"Memory: {LAYERS} layers, {options.memory_steps} steps, budget 2 %, each run a process. Must reach: +20 MB resident, 20 MB stored",
                   lambda: memory_table(steps=options.memory_steps, n=options.memory_rounds)),
        "edited": (f"After surgery, {min(EDITED_STEPS, length)} steps, one thread. Must reach: unchanged",
                   lambda: edited_table(rounds, length=min(EDITED_STEPS, length), repeats=options.rounds)),
    }  # fmt: skip
    text = [header("Cost of watching", "numpy"), NOTE, ""]
    for part in options.only:
        title, table = tables[part]
        text += [f"## {title}\n", table(), ""]
    publish("watch_cost", "\n".join(text), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
