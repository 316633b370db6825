"""What does a watched run hold and store? Runs of a deep net, each in a process of its own that
imports no more than its program does; `watch_cost.py` starts them and makes the table."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

LAYERS = 50
MODES = {
    "bare": "bare, trainwright not imported",
    "loaded": "a watcher for one step, then bare",
    "watched": "watched",
    "loaded stored": "a watcher with a SQLite store for one step, then bare",
    "watched stored": "watched, SQLite store",
}
SAME_CODE = {"watched": "loaded", "watched stored": "loaded stored"}


def memory_table(*, steps: int, n: int) -> str:
    """Resident and stored megabytes; the store's folder is measured when the run is over. What is
    not watched holds the same all the time, so that a tenth of the steps will do."""
    lines = ["| run | n | resident at the last step, MB | more than bare | more than the same code without a watcher | peak, MB | stored, MB | samples | losses |", "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    resident: dict[str, float] = {}
    for mode, title in MODES.items():
        found = [_run(mode, steps if mode in SAME_CODE else steps // 10) for _ in range(n)]
        m = {k: statistics.median(f[k] for f in found) for k in found[0]}
        values = sorted(f["resident"] for f in found)
        resident[mode] = m["resident"]
        same = SAME_CODE.get(mode)
        more = "" if same is None else f"**{m['resident'] - resident[same]:+.1f}**"
        lines.append(
            f"| {title} | {n} | {m['resident']:.1f} ({values[0]:.1f}-{values[-1]:.1f}) | {m['resident'] - resident['bare']:+.1f} | {more} | "
            f"{m['peak']:.1f} | {m['stored']:.2f} | {m['samples']:.0f} | {m['losses']:.0f} |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)


def _run(mode: str, steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, mode, folder, str(steps)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)  # fmt: skip
        stored = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    return json.loads(done.stdout.splitlines()[-1]) | {"stored": stored / 1e6}


def run(mode: str, folder: str, steps: int) -> None:
    """The program of one process; prints what it held."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(LAYERS)])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    criterion, X, y = nn.MSELoss(), torch.randn(8, 4), torch.zeros(8, 4)

    def train(count: int) -> float:
        for _ in range(count):
            optimizer.zero_grad()
            criterion(model(X), y).backward()
            optimizer.step()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    samples = losses = 0
    if mode == "bare":
        resident = train(steps)
    else:
        import trainwright as tw

        options = {"store": Path(folder) / "runs.db", "name": "deep"} if "stored" in mode else {}
        watch = tw.watch(model, optimizer, loss=criterion, **options)
        watch.attach()
        resident = train(1 if "loaded" in mode else steps)
        if "loaded" in mode:
            watch.watcher.detach()
            resident = train(steps)
        else:
            samples, losses = len(watch.history.steps), len(watch.history.loss.steps)
            watch.detach()
    lines = Path("/proc/self/status").read_text().splitlines()  # getrusage would tell the parent's
    peak = next(int(x.split()[1]) for x in lines if x.startswith("VmHWM")) * 1024 / 1e6
    print(json.dumps({"resident": resident, "peak": peak, "samples": samples, "losses": losses}))


if __name__ == "__main__" and len(sys.argv) == 4:
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
