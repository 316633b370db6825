"""Does a run that is killed at any instant end with the same weights? kill -9 at random moments,
resume, compare sha256 with the uninterrupted run."""

import multiprocessing
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import arguments, header, publish

# Knobs of each kind of run that must survive. `epochs` make it last a second or two.
SCENARIOS: dict[str, dict[str, Any]] = {
    "mlp": {
        "data.source": "sklearn:digits",
        "model.name": "mlp", "model.width": 64, "model.dropout": 0.1, "budget": "15 epochs",
    },
    "convnet with augmentation and dropout": {
        "data.source": "images.npz", "data.augment": ["crop", "flip"],
        "model.name": "convnet", "model.width": 8, "model.dropout": 0.2, "budget": "8 epochs",
    },
    "streaming table": {
        "data.source": "table.parquet", "data.target": "y", "data.stream": True,
        "data.shuffle_rows": 512, "model.width": 32, "budget": "8 epochs",
    },
    "accumulation, schedule and averaging": {
        "data.source": "table.parquet", "data.target": "y", "algorithm.accumulate": 3,
        "algorithm.schedule": "one_cycle", "algorithm.average": "ema", "budget": "12 epochs",
        "algorithm.batch_size": 32, "model.width": 32,
    },
    "text": {
        "data.source": "texts.csv", "data.target": "label", "budget": "25 epochs",
    },
}  # fmt: skip


def write_sources(folder: Path) -> None:
    """Small data of each kind, made from a seed."""
    import numpy as np
    import polars

    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 8)).astype("float32")
    y = (X[:, 0] * X[:, 1] + 0.3 * X[:, 2] > 0).astype(int)
    table = {f"x{i}": X[:, i] for i in range(8)} | {"y": [("no", "yes")[v] for v in y]}
    polars.DataFrame(table).write_parquet(folder / "table.parquet", row_group_size=500)
    images = rng.integers(0, 256, size=(600, 12, 12), dtype=np.uint8)
    labels = (images.mean(axis=(1, 2)) > 127).astype(int)
    np.savez(folder / "images.npz", X=images, y=labels)
    words = np.array(
        ["red", "green", "blue", "cat", "dog", "house", "tree", "stone", "water", "fire"]
    )
    texts = [" ".join(rng.choice(words, size=12)) for _ in range(800)]
    polars.DataFrame(
        {"text": texts, "label": ["hot" if "fire" in t else "cold" for t in texts]}
    ).write_csv(folder / "texts.csv")


def train(settings: dict[str, Any], store: str, name: str, *, resume: bool, pipe: Any) -> None:
    """One process of a run: the whole of it, or until it is killed."""
    import torch

    import trainwright as tw
    from trainwright import recipe as recipes
    from trainwright.train import checkpoint

    torch.set_num_threads(1)
    checkpoint.FEWEST_SECONDS, checkpoint.COST_SHARE = 0.03, 0.5  # many chances to be torn apart
    pipe.send("begun")
    if resume:
        from trainwright.core.errors import RunNotFound

        try:
            run = tw.resume(name, store=store, quiet=True)
        except RunNotFound:  # killed before the run was written: begin it
            resume = False
    if not resume:
        recipe = recipes.edit(recipes.Recipe(), {**settings, "baselines": False})
        run = tw.fit(recipe.data.source, recipe=recipe, store=store, name=name, quiet=True)
    pipe.send((run.state, run.weights_sha256))


def in_process(settings, store, name, *, resume: bool, kill_after: float | None) -> Any:
    """The run's (state, sha256), or None when it was killed first."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(
        target=train, args=(settings, store, name), kwargs={"resume": resume, "pipe": there}
    )
    child.start()
    there.close()
    answer = None
    try:
        assert here.recv() == "begun"
        if kill_after is not None and not here.poll(kill_after):
            os.kill(child.pid, signal.SIGKILL)
        answer = here.recv()
    except EOFError:
        pass
    child.join()
    return answer


def trial(settings: dict[str, Any], folder: Path, number: int, seconds: float) -> Any:
    """Kills a run at a random instant, up to three times, and lets it end."""
    draw = random.Random(number)
    store, name = str(folder / f"store{number}.db"), f"run-{number}"
    resume = False
    for _ in range(draw.choice((1, 1, 2, 3))):
        answer = in_process(
            settings, store, name, resume=resume, kill_after=draw.uniform(0, seconds)
        )
        if answer is not None:
            return answer
        resume = True
    return in_process(settings, store, name, resume=True, kill_after=None)


def equal_runs(name: str, folder: Path, trials: int) -> tuple[int, float]:
    """How many of `trials` killed runs end as the uninterrupted one, and its seconds."""
    settings = SCENARIOS[name]
    began = time.perf_counter()
    whole = in_process(settings, str(folder / "whole.db"), "whole", resume=False, kill_after=None)
    seconds = time.perf_counter() - began
    assert whole is not None, name
    assert whole[0] == "finished", (name, whole)
    equal = 0
    for number in range(trials):
        answer = trial(settings, folder, number, seconds)
        equal += answer == whole
        if answer != whole:
            print(f"trial {number} of {name}: {answer}, and not {whole}", flush=True)
    return equal, seconds


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--trials", type=int, default=40, help="kills per kind of run")
    parser.add_argument("--only", nargs="*", default=list(SCENARIOS))
    options = parser.parse_args()
    import torch  # noqa: F401  (children are forked: they need not import it again)

    lines = [
        header("Killed at a random instant, resumed, compared to the bit"),
        "Each trial: fit in a process of its own, kill -9 one to three times at a uniformly random",
        "moment, resume, compare weights_sha256 with the uninterrupted run. Must reach: all equal.\n",
        "| kind of run | seconds uninterrupted | equal | of |", "|---|---|---|---|",
    ]  # fmt: skip
    total = 0
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        # in a child: polars' threads would not survive in the children forked later
        writer = multiprocessing.get_context("fork").Process(
            target=write_sources, args=(Path(place),)
        )
        writer.start()
        writer.join()
        for i, name in enumerate(options.only):
            folder = Path(place) / str(i)
            folder.mkdir()
            equal, seconds = equal_runs(name, folder, options.trials)
            total += equal
            lines.append(f"| {name} | {seconds:.1f} | {equal} | {options.trials} |")
            print(lines[-1], flush=True)
    lines.append(f"\n{total} of {options.trials * len(options.only)} equal.")
    publish("kill_resume", "\n".join(lines), write=options.write)


if __name__ == "__main__":
    main()
