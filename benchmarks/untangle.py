"""Does healing untangle several faults at once? Two to four faults of beginners, drawn at random, in
small networks on small real and synthetic tables; as good as the same program without them?"""

import json
import os
import statistics
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from harness import arguments, header, publish
from sklearn import datasets, model_selection
from torch import Tensor, nn

from trainwright.core.stats import wilson
from trainwright.edit.given import program_from
from trainwright.edit.loop import train
from trainwright.edit.program import Habits, Program
from trainwright.remedy.heal import heal

KEPT = Path(__file__).parent / ".untangle"  # results, not committed: what is there is not run again
GOOD, SLACK = 0.9, 0.02  # healed: this good, or as good as without the faults but for so much
HARM = 0.05  # of the score; draws of faults that cost less than this are not sick
FRESH = 7777  # a seed that the search never sees

Choices = dict[str, Any]

# --- tables: name -> (X, y, number of classes; 0 for a real target) -----------------------------


def _rings(own: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    X, y = datasets.make_circles(400, noise=0.08, factor=0.5, random_state=int(own.integers(99)))
    return X, y, 2


def _parity(own: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    X = own.integers(0, 2, (256, 4)).astype(float)
    return X, (X.sum(1) % 2).astype(int), 2


def _linear(own: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    X = own.uniform(0, 100, (200, 2))
    return X, 3 * X[:, 0] - 2 * X[:, 1] + 20, 0


def _square(own: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    X = own.uniform(-10, 10, (300, 1))
    return X, X[:, 0] ** 2, 0


def _wave(own: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    X = own.uniform(-3, 3, (400, 1))
    return X, np.sin(2 * X[:, 0]) + 0.05 * own.normal(size=400), 0


def _packaged(name: str, classes: int) -> Callable[[np.random.Generator], Any]:
    def load(own: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        found: Any = getattr(datasets, f"load_{name}")()
        return found.data, found.target, classes

    return load


TABLES: dict[str, Callable[[np.random.Generator], Any]] = {
    "rings": _rings, "parity": _parity, "linear": _linear, "square": _square, "wave": _wave,
    "iris": _packaged("iris", 3), "wine": _packaged("wine", 3),
    "breast_cancer": _packaged("breast_cancer", 2), "digits": _packaged("digits", 10),
    "diabetes": _packaged("diabetes", 0),
}  # fmt: skip
SOUND: Choices = {
    "scaled": True, "target_scaled": True, "width": 32, "depth": 2, "activation": nn.ReLU,
    "head": None, "loss": "fitting", "optimizer": torch.optim.Adam, "rate": 0.003, "epochs": 60,
    "batch": 32, "dropout": 0.0, "decay": 0.0, "init_sd": None, "shuffle": True,
}  # fmt: skip

# --- faults: what a beginner writes instead ---------------------------------------------------------

FAULTS: dict[str, tuple[Choices, str]] = {  # choices, and for which tasks
    "inputs_raw": ({"scaled": False}, "any"),
    "target_raw": ({"target_scaled": False}, "real"),
    "rate_high": ({"rate": 0.3}, "any"),
    "rate_low": ({"rate": 1e-5}, "any"),
    "sgd_slow": ({"optimizer": torch.optim.SGD, "rate": 0.001}, "any"),
    "one_epoch": ({"epochs": 2}, "any"),
    "no_activation": ({"activation": nn.Identity}, "any"),
    "sigmoids": ({"activation": nn.Sigmoid, "depth": 5}, "any"),
    "softmax_hidden": ({"activation": lambda: nn.Softmax(-1)}, "any"),
    "two_units": ({"width": 2}, "any"),
    "softmax_before_loss": ({"head": "softmax"}, "classes"),
    "squared_classes": ({"head": "softmax", "loss": "squared"}, "classes"),
    "sigmoid_head": ({"head": "sigmoid"}, "real"),
    "relu_head": ({"head": "relu"}, "real"),
    "zero_start": ({"init_sd": 0.0}, "any"),
    "wide_start": ({"init_sd": 3.0}, "any"),
    "dropout": ({"dropout": 0.85}, "any"),
    "decay": ({"decay": 0.5, "optimizer": torch.optim.SGD, "rate": 0.1}, "any"),
    "whole_batch": ({"batch": 10_000}, "any"),
    "sorted_unshuffled": ({"shuffle": False}, "classes"),
}


class Network(nn.Module):
    """A plain stack, as beginners write it."""

    def __init__(self, inputs: int, outputs: int, chosen: Choices) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(chosen["depth"]):
            layers += [nn.Linear(inputs, chosen["width"]), chosen["activation"](),
                       nn.Dropout(chosen["dropout"])]  # fmt: skip
            inputs = chosen["width"]
        heads = {None: nn.Identity, "softmax": lambda: nn.Softmax(-1), "sigmoid": nn.Sigmoid,
                 "relu": nn.ReLU}  # fmt: skip
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, outputs)
        self.last = heads[chosen["head"]]()
        if chosen["init_sd"] is not None:
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=chosen["init_sd"])

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.head(self.body(x)))


def squared_to_classes(outputs: Tensor, labels: Tensor) -> Tensor:
    return ((outputs - nn.functional.one_hot(labels, outputs.shape[1]).float()) ** 2).mean()


def built(table: str, chosen: Choices, seed: int) -> Program:
    """The program, with a third of its rows held out."""
    X, y, classes = TABLES[table](np.random.default_rng(seed))
    Xf, Xv, yf, yv = model_selection.train_test_split(X, y, test_size=1 / 3, random_state=seed)
    if not chosen["shuffle"]:
        order = np.argsort(yf, kind="stable")
        Xf, yf = Xf[order], yf[order]
    if chosen["scaled"]:
        mean, sd = Xf.mean(0), Xf.std(0) + 1e-9
        Xf, Xv = (Xf - mean) / sd, (Xv - mean) / sd
    if not classes and chosen["target_scaled"]:
        mean, sd = yf.mean(), yf.std()
        yf, yv = (yf - mean) / sd, (yv - mean) / sd
    inputs = [torch.tensor(part, dtype=torch.float32) for part in (Xf, Xv)]
    targets = [torch.tensor(part) if classes else torch.tensor(part, dtype=torch.float32)[:, None]
               for part in (yf, yv)]  # fmt: skip
    loss: Any = nn.CrossEntropyLoss() if classes else nn.MSELoss()
    loss = squared_to_classes if chosen["loss"] == "squared" else loss
    extra = {"weight_decay": chosen["decay"]} if chosen["decay"] else {}
    size = min(chosen["batch"], len(Xf))
    return program_from(
        lambda: Network(X.shape[1], classes or 1, chosen), (inputs[0], targets[0]), loss=loss,
        optimizer=lambda p: chosen["optimizer"](p, lr=chosen["rate"], **extra),
        valid=(inputs[1], targets[1]), batch_size=size,
        habits=Habits(batch_size=size, epochs=chosen["epochs"], shuffle=chosen["shuffle"]),
    )  # fmt: skip


def drawn(number: int) -> tuple[str, tuple[str, ...]]:
    """(table, faults) of program `number`: two faults to four that touch different choices."""
    own = np.random.default_rng([2026, number])
    table = str(own.choice(list(TABLES)))
    kind = "classes" if TABLES[table](np.random.default_rng(0))[2] else "real"
    wanted = int(own.choice([2, 3, 4], p=[0.5, 0.3, 0.2]))
    found: list[str] = []
    touched: set[str] = set()
    for name in own.permutation(list(FAULTS)):
        choices, for_task = FAULTS[str(name)]
        if for_task in ("any", kind) and not touched & choices.keys() and len(found) < wanted:
            found.append(str(name))
            touched |= choices.keys()
    return table, tuple(found)


# --- one program ---------------------------------------------------------------------------------


def judged(program: Program) -> float:
    """Accuracy or R2 of a training at a seed that the search never saw; -99 without one."""
    return train(program, FRESH).score or -99.0


def healed(number: int) -> dict[str, Any]:
    """What became of program `number`."""
    place = KEPT / f"{number}.json"
    if place.exists():
        return json.loads(place.read_text())
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    table, faults = drawn(number)
    chosen = dict(SOUND)
    for name in faults:
        chosen |= FAULTS[name][0]
    sick = built(table, chosen, number)
    row: dict[str, Any] = {"number": number, "table": table, "faults": faults, "before": judged(sick),
                           "sound": judged(built(table, SOUND, number))}  # fmt: skip
    if row["before"] < row["sound"] - HARM:
        found = heal(sick, seeds=0)
        row |= {"after": judged(found.target), "state": found.state,
                "edits": [done.name for done in found.done], "seconds": round(found.seconds, 1),
                "open": found.open, "named": found.steps[0].open,
                "runs": sum(step.judged != "not applicable" for step in found.steps)}  # fmt: skip
        row["healed"] = row["after"] >= min(GOOD, row["sound"] - SLACK)
    place.write_text(json.dumps(row))
    return row


def table_of(rows: list[dict[str, Any]]) -> str:
    sick = [row for row in rows if "healed" in row]
    done = sum(row["healed"] for row in sick)
    low, high = wilson(done / len(sick), len(sick))
    seconds = statistics.median(row["seconds"] for row in sick)
    lines = [
        f"{len(rows)} programs; {len(rows) - len(sick)} lost less than {HARM:g} of the score by their faults and are left out.",
        "", f"Healed (at least {GOOD:g}, or within {SLACK:g} of the program without the faults, after a training at a fresh seed): **{done} of {len(sick)} = {done / len(sick):.2f}** (95 %: {low:.2f} to {high:.2f}); median {seconds:.0f} s.",
        "", "| # | table | faults | named at first | before | after | without faults | healed | edits | runs | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in sorted(sick, key=lambda r: r["number"]):
        lines.append(
            f"| {r['number']} | {r['table']} | {', '.join(r['faults'])} | {' '.join(r['named'])} | {r['before']:.3f} | {r['after']:.3f} | {r['sound']:.3f} | {'yes' if r['healed'] else ''} | {', '.join(r['edits'])} | {r['runs']} | {r['seconds']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--programs", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    KEPT.mkdir(exist_ok=True)
    jobs = range(options.first, options.first + options.programs)
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(healed, job) for job in jobs]):
            rows.append(future.result())
            print(rows[-1], flush=True)
    text = header("Several faults at once, healed", "numpy")
    publish("untangle", text + "\n" + table_of(rows), write=options.write)


if __name__ == "__main__":
    main()
