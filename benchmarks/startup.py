"""How long until something happens? Import, help, the first step on a table, and what a fit costs
beyond its steps."""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from harness import arguments, header, publish, timed

CHILD = "import time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
FIRST_STEP = """
import sys, time
began = time.perf_counter()
from trainwright.train import loop
def tell(message):
    from trainwright.run.messages import Progressed
    if isinstance(message, Progressed):
        print(time.perf_counter() - began); sys.stdout.flush()
        import os; os._exit(0)
import trainwright as tw
tw.fit("table.csv", target="y", listener=tell, store="first.db")
"""


def child(code: str) -> float:
    """Seconds that `code` says it took, in a new process."""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def command(*words: str) -> float:
    """Seconds of a whole process."""
    return timed(lambda: subprocess.run(words, capture_output=True, check=True))


def fixed_cost(store: str | None, rounds: int) -> list[float]:
    """Seconds of a fit of 5 epochs of digits beyond 5 times its slope."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    import trainwright as tw

    torch.set_num_threads(1)
    digits = load_digits()
    X = (digits.data / 16).astype("float32")

    def net() -> nn.Module:
        return nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )

    def fit(epochs: int) -> float:
        return timed(
            lambda: tw.fit(X, digits.target, model=net, loss="cross_entropy", store=store,
                           budget=f"{epochs} epochs", algorithm={"batch_size": 64}, quiet=True)
        )  # fmt: skip

    fit(2)
    found = []
    for _ in range(rounds):
        short, long = fit(5), fit(25)
        found.append(short - 5 * (long - short) / 20)
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    rounds = options.rounds
    import numpy as np
    import polars

    script = str(Path(sys.executable).parent / "trainwright")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        rng = np.random.default_rng(0)
        table = {f"x{i}": rng.normal(size=10_000) for i in range(10)}
        table["y"] = (table["x0"] > 0).astype(int)
        polars.DataFrame(table).write_csv("table.csv")
        torch_import, first = [], []
        for _ in range(rounds):
            torch_import.append(child(CHILD.format(code="import torch")))
            first.append(child(FIRST_STEP))
        rows = {
            "`import trainwright`": (
                [child(CHILD.format(code="import trainwright")) for _ in range(rounds)],
                "150 ms",
            ),
            "`import trainwright; trainwright.Recipe`": (
                [
                    child(CHILD.format(code="import trainwright; trainwright.Recipe"))
                    for _ in range(rounds)
                ],
                "-",
            ),
            "`trainwright --help`, whole process": (
                [command(script, "--help") for _ in range(rounds)],
                "400 ms",
            ),
            "torch's own import": (torch_import, "-"),
            "`fit` on a CSV of 10 000 rows until the first step": (
                first,
                "torch's import + 1500 ms",
            ),
            "the same, less torch's import": (
                [a - b for a, b in zip(first, torch_import, strict=True)],
                "1500 ms",
            ),
            "fixed cost of a fit, in memory": (fixed_cost(None, rounds), "30 ms"),
            "fixed cost of a fit, SQLite": (fixed_cost("fixed.db", rounds), "80 ms"),
        }
        lines = [
            header("Until something happens"), f"{rounds} rounds, milliseconds.\n",
            "| what | median | low-high | must reach |", "|---|---|---|---|",
        ]  # fmt: skip
        for name, (seconds, goal) in rows.items():
            ms = [1000 * value for value in seconds]
            lines.append(
                f"| {name} | {statistics.median(ms):.0f} | {min(ms):.0f}-{max(ms):.0f} | {goal} |"
            )
        os.chdir(Path(__file__).parent)
    publish("startup", "\n".join(lines), write=options.write)


if __name__ == "__main__":
    main()
