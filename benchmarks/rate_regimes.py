"""How often does one loss curve tell its learning rate's regime? Sweeps of nine rates over ten tasks
and two optimisers; what is true is a rule over the whole sweep, stated here before anything is read.

    python benchmarks/rate_regimes.py sweep curves.npz   # 540 short runs, one thread: minutes
    python benchmarks/rate_regimes.py score curves.npz   # accuracy by regime, both halves
    python benchmarks/rate_regimes.py clinic clinic/.cache/NAME  # what the box says of the clinic's
        # kept runs; where it says something, the program trains anew at other rates

The truth of a run at rate r, of its sweep's full training losses: F(r) is the mean of the last tenth
of the looks, L0 the loss before the first step, F* the least F of the sweep, at rate r*, and
g = (L0 - F(r)) / (L0 - F*).
    diverging    F(r) is not finite, or F(r) > L0 + 0.1 (L0 - F*)
    good         g >= 0.95, and the swing is at most 0.1
    too_low      g < 0.95 and r < r*
    oscillating  otherwise, where the swing of the second half's looks, their standard deviation
                 about a straight line over L0 - F*, is above 0.1
    high         otherwise
"""

import gzip
import json
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

RATES = {"sgd": 3e-5 * 5.0 ** np.arange(9), "adam": 1e-5 * 5.0 ** np.arange(9)}
# Thresholds were first found on digits_mlp, diabetes and rnn: right in .93 of their runs, and in .76
# of those of digits_conv, wine and friedman. They were found anew on all six, and the last four were
# drawn after that and looked at once.
FITTED = ("digits_mlp", "diabetes", "rnn", "digits_conv", "wine", "friedman")
HELD_OUT = ("cancer", "moons", "sine", "digits_tanh")
SEEDS, STEPS, LOOKS, BATCH = 3, 300, 60, 32
REGIMES = ("too_low", "good", "high", "diverging", "oscillating")


def task(name, seed):
    """(network, inputs, target, loss)."""
    import torch
    from sklearn import datasets
    from torch import nn

    def scaled(x):
        return torch.tensor((x - x.mean(0)) / (x.std(0) + 1e-9), dtype=torch.float32)

    torch.manual_seed(seed)
    entropy, squared = nn.CrossEntropyLoss(), nn.MSELoss()
    if name.startswith("digits"):
        x, y = datasets.load_digits(return_X_y=True)
        images, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
        if name == "digits_tanh":
            layers = [nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 10)]
            return nn.Sequential(*layers), images, y, entropy
        if name == "digits_mlp":
            net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
            return net, images, y, entropy
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip
        return net, images.reshape(-1, 1, 8, 8), y, entropy
    if name == "wine":
        x, y = datasets.load_wine(return_X_y=True)
        return mlp(13, 3), scaled(x), torch.tensor(y), entropy
    if name == "rnn":
        from trainwright.core.records import Signature
        from trainwright.model.build import build
        from trainwright.model.knobs import ModelKnobs

        dice = np.random.default_rng(0)
        x = dice.normal(size=(800, 10, 2)).astype("float32")
        mark = dice.integers(0, 10, 800)
        x[:, :, 1] = 0
        x[np.arange(800), mark, 1] = 1
        y = (x[np.arange(800), mark, 0] > 0).astype("int64")
        knobs = ModelKnobs(name="rnn", width=24)
        net = build(knobs, Signature(kind="any", shape=(10, 2)), 2, seed)
        return net, torch.tensor(x), torch.tensor(y), entropy
    if name == "cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
        return mlp(30, 2), scaled(x), torch.tensor(y), entropy
    if name == "moons":
        x, y = datasets.make_moons(600, noise=0.25, random_state=0)
        return mlp(2, 2), scaled(x), torch.tensor(y), entropy
    if name == "sine":
        x = np.random.default_rng(0).uniform(-3, 3, (500, 1))
        return mlp(1, 1), scaled(x), scaled(np.sin(2 * x)), squared
    if name == "diabetes":
        x, y = datasets.load_diabetes(return_X_y=True)
    else:
        x, y = datasets.make_friedman1(600, noise=1.0, random_state=0)
    return mlp(x.shape[1], 1), scaled(x), scaled(y[:, None]), squared


def mlp(inputs, outputs):
    from torch import nn

    return nn.Sequential(
        nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs)
    )


def one(name, kind, rate, seed):
    """Losses of batches [step] and of all rows [look]; what followed a loss that is no number is
    NaN."""
    import torch

    net, x, y, loss_of = task(name, seed)
    make = torch.optim.Adam if kind == "adam" else torch.optim.SGD
    optimizer = make(net.parameters(), rate, **({} if kind == "adam" else {"momentum": 0.9}))
    order = torch.Generator().manual_seed(seed)
    curve, looks = np.full(STEPS, np.nan), np.full(LOOKS + 1, np.nan)
    looks[0] = whole(net, x, y, loss_of)
    for step in range(STEPS):
        rows = torch.randint(len(x), (BATCH,), generator=order)
        optimizer.zero_grad()
        loss = loss_of(net(x[rows]), y[rows])
        curve[step] = loss.item()
        if not np.isfinite(curve[step]):
            break
        loss.backward()
        optimizer.step()
        if (step + 1) % (STEPS // LOOKS) == 0:
            looks[(step + 1) // (STEPS // LOOKS)] = whole(net, x, y, loss_of)
    return curve, looks


def whole(net, x, y, loss_of):
    import torch

    with torch.no_grad():
        return loss_of(net(x), y).item()


def truths(looks):
    """The regime of each run of a sweep [rate, look], by the rule above."""
    with np.errstate(all="ignore"):
        final = looks[:, -LOOKS // 10 :].mean(axis=1)
        final[~np.isfinite(looks).all(axis=1)] = np.inf
    start, best = looks[0, 0], final.min()
    at, room = int(final.argmin()), looks[0, 0] - final.min()
    found = []
    for i, value in enumerate(final):
        if not np.isfinite(value) or value > start + 0.1 * room:
            found.append("diverging")
            continue
        second = looks[i, LOOKS // 2 :]
        line = np.polyval(np.polyfit(np.arange(len(second)), second, 1), np.arange(len(second)))
        swing = (second - line).std() / room
        gained = (start - value) / (start - best)
        if gained >= 0.95 and swing <= 0.1:
            found.append("good")
        elif gained < 0.95 and i < at:
            found.append("too_low")
        else:
            found.append("oscillating" if swing > 0.1 else "high")
    return found


def sweep(path, names=FITTED + HELD_OUT):
    import torch

    torch.set_num_threads(1)
    began, rows = time.time(), {}
    for name in names:
        for kind, rates in RATES.items():
            for seed in range(SEEDS):
                pairs = [one(name, kind, float(rate), seed) for rate in rates]
                rows[f"{name}/{kind}/{seed}/curve"] = np.stack([c for c, _ in pairs])
                rows[f"{name}/{kind}/{seed}/looks"] = np.stack([k for _, k in pairs])
        print(name, round(time.time() - began), flush=True)
    np.savez_compressed(path, **rows)


def runs(path):
    """(task, optimiser, rate, curve, truth) of every run."""
    with np.load(path) as kept:
        for key in kept.files:
            if not key.endswith("curve"):
                continue
            name, kind, *_ = key.split("/")
            truth = truths(kept[key.replace("curve", "looks")])
            for rate, curve, true in zip(RATES[kind], kept[key], truth, strict=True):
                yield name, kind, float(rate), curve, true


def score(path):
    from trainwright.diagnose.regime import regime

    for title, names in (("fitted", FITTED), ("held out", HELD_OUT)):
        table = np.zeros((5, 5), int)
        sure = []
        for name, _, rate, curve, true in runs(path):
            if name in names:
                told = regime(curve, None, np.full(len(curve), rate))
                table[REGIMES.index(true), REGIMES.index(told.regime)] += 1
                sure.append((told.confidence, told.regime == true))
        print(title, "n", table.sum(), "accuracy", round(table.trace() / table.sum(), 3))
        for i, true in enumerate(REGIMES):
            print(
                f"  {true:12}", table[i], "recall", round(table[i, i] / max(1, table[i].sum()), 3)
            )
        confidence, right = np.array(sure).T
        print("  mean confidence", round(confidence.mean(), 3), "right", round(right.mean(), 3))


def clinic(folder):
    """What the curves of the clinic's kept readings say, by fault and verdict; and of each program
    of which the box would say something, its skill at its rate, at three times it or a third of it,
    and once more so."""
    from clinic.catalogue import find
    from clinic.examine import facts_of, history_of
    from trainwright.diagnose.judge import judge
    from trainwright.report.rate_words import suspected_rate

    counts = {}
    for path in sorted(Path(folder).glob("*.gz")):
        record = json.loads(gzip.decompress(path.read_bytes()))
        program, found = find(record["program"]), judge(facts_of(record), history_of(record))
        fault = program.fault if program.fault in ("A401", "A402") else bool(program.fault)
        row = counts.setdefault((str(fault or "healthy"), not found.healthy), Counter())
        row["runs"] += 1
        row[found.rate.regime if found.rate is not None else "not told"] += 1
        line = suspected_rate(found)
        if line:
            row["said"] += 1
            step = 3.0 if found.rate.regime == "too_low" else 1 / 3.0
            skills = [skill_at(program, record["seed"], step**power) for power in (0, 1, 2)]
            print(program.name, record["seed"], np.round(skills, 3), line, flush=True)
    for (fault, named), row in sorted(counts.items()):
        print(f"{fault:8} {'named' if named else 'nothing named':14}", dict(row))


def skill_at(program, seed, times):
    """What the program reaches at so many times its rate."""
    import torch

    from clinic.program import skill, train

    torch.set_num_threads(1)
    built = program.build(seed)
    for group in built.optimizer.param_groups:
        group["lr"] *= times
        if "initial_lr" in group:
            group["initial_lr"] *= times
    if built.scheduler is not None:
        built.scheduler.base_lrs = [rate * times for rate in built.scheduler.base_lrs]
    train(built)
    return skill(built)


if __name__ == "__main__":
    {"sweep": sweep, "score": score, "clinic": clinic}[sys.argv[1]](sys.argv[2])
