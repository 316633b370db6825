"""How long does `check` take, and how long do all rules take on a stored run? Wall and CPU seconds,
first call in a fresh process and later ones; one thread and two."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from harness import arguments, header, publish

ROUNDS = 7
CASES = ("MLP, 1 000 rows", "MLP, digits", "CNN, digits", "10 M parameters")


def build(case: str):
    """(model, data, loss) of one case."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    if case == "MLP, 1 000 rows":
        X = torch.randn(1000, 20)
        y = (X[:, 0] * X[:, 1] > 0).long()
        return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2)), (X, y)
    digits, labels = load_digits(return_X_y=True)
    X, y = torch.tensor(digits / 16, dtype=torch.float32), torch.tensor(labels)
    if case == "CNN, digits":
        model = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
        )  # fmt: skip
        return model, (X, y)
    width = 64 if case == "MLP, digits" else 2200
    depth = 2 if case == "MLP, digits" else 3
    sizes = [64, *[width] * depth]
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10)), (X, y)


def one(case: str, threads: int) -> None:
    """In a process of its own: seconds of each call as JSON."""
    import torch

    import trainwright as tw

    torch.set_num_threads(threads)
    model, data = build(case)
    optimizer = torch.optim.Adam(model.parameters())
    loss = torch.nn.CrossEntropyLoss()
    wall, cpu = [], []
    for _ in range(ROUNDS):
        began, began_cpu = time.perf_counter(), time.process_time()
        tw.check(model, data, loss=loss, optimizer=optimizer)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    print(
        json.dumps(
            {"wall": wall, "cpu": cpu, "parameters": sum(p.numel() for p in model.parameters())}
        )
    )


def check_table() -> str:
    lines = ["| model | parameters | threads | first call, s | later calls, s (least-most of 6) | CPU s | must |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for case in CASES:
        for threads in (1, 2):
            environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
            words = [sys.executable, __file__, "--one", case, "--threads", str(threads)]
            done = subprocess.run(
                words, env=environment, capture_output=True, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            first, *later = found["wall"]
            must = "<= 4" if case.startswith("10 M") else "<= 1"
            lines.append(f"| {case} | {found['parameters']:,} | {threads} | {first:.2f} | {statistics.median(later):.2f} ({min(later):.2f}-{max(later):.2f}) | {statistics.median(found['cpu']):.2f} | {must} |")  # fmt: skip
            print(lines[-1], flush=True)
    return "\n".join(lines)


def rules_table() -> str:
    """All rules on a stored run of our own: facts and readings are in memory, as `judge` gets them."""
    import torch
    from torch import nn

    import trainwright as tw
    from trainwright.diagnose.judge import judge
    from trainwright.run.recall import recall
    from trainwright.store.open import open_store

    torch.set_num_threads(1)
    model, (X, y) = build("MLP, digits")
    optimizer, loss = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "runs.db")
        with tw.watch(model, optimizer, loss=loss, store=store, name="timed") as watch:
            for _ in range(100):
                for rows in torch.randperm(len(X)).split(64):
                    optimizer.zero_grad()
                    loss(model(X[rows]), y[rows]).backward()
                    optimizer.step()
        record = store.run(store.runs()[0].id)
        facts, history = recall(record, store.readings(record.id)[0])
        seconds = []
        for _ in range(200):
            began = time.perf_counter()
            judge(facts, history)
            seconds.append(time.perf_counter() - began)
    ordered = sorted(seconds)
    return (f"| steps | samples | losses | median, ms | 95 %, ms | must |\n|---|---|---|---|---|---|\n"
            f"| {watch.history.num_steps} | {len(history.steps)} | {len(history.loss.steps)} | {1e3 * statistics.median(seconds):.1f} | {1e3 * ordered[190]:.1f} | <= 10 |")  # fmt: skip


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.threads)
        return
    parts = [
        header("Time of check and of the rules", "scikit-learn"),
        f"{ROUNDS} calls a process.\n",
    ]
    parts += [
        "## check\n",
        check_table(),
        "",
        "## All rules on a stored run, 200 times\n",
        rules_table(),
        "",
    ]
    publish("check_time", "\n".join(parts), write=options.write)


if __name__ == "__main__":
    sys.exit(main())
